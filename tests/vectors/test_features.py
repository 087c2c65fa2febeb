"""Reading features: one file or a growing folder of parts, and what is refused."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import InputError, UnknownNameError
from pnasnet.extract import Batch, Row
from pnasnet.extract.part import Part
from pnasnet.extract.schema import FeatureSchema
from pnasnet.vectors import Entry, Features, open_features, parts
from pnasnet.vectors.features import PART_IDS

from tests.helpers.vectors_data import METADATA, clustered, write_features


def ids_of(opened: Features, paths: list[str]) -> dict[str, int]:
    """Return the rows of the paths that have a vector."""
    return {path: found for path, (found, _) in opened.lookup(paths).items()}


def test_blocks_hold_all_usable_rows_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(50)
    opened = open_features(write_features(tmp_path / "f.parquet", vectors, failed=[0, 7, 30]))
    monkeypatch.setattr(parts, "_BLOCK_BYTES", 10 * 4 * 40)  # ten rows
    blocks = list(opened.blocks())
    assert max(len(block.ids) for block in blocks) <= 10
    ids = np.concatenate([block.ids for block in blocks])
    usable = [i for i in range(50) if i not in (0, 7, 30)]
    assert ids.tolist() == usable
    np.testing.assert_array_equal(np.concatenate([block.vectors for block in blocks]), vectors[usable])
    assert (opened.rows, opened.length, opened.column) == (50, 40, "embedding")
    assert opened.metadata["model"] == "pnasnet_tiny"


def test_a_part_that_embed_writes(tmp_path: Path) -> None:
    stated = {f"pnasnet.{key}": value for key, value in METADATA.items()}
    kind = FeatureSchema({"embedding": pa.list_(pa.float32(), 3)}, stated)
    rows = (Row("a.jpg", 4, 5), Row("b.jpg", error="bad"), Row("c.jpg", error="gone", unreachable=True))
    table = kind.table([Batch(rows, {"embedding": np.ones((1, 3), np.float32)})])
    with (tmp_path / "f.parquet").open("wb") as file:
        Part(0, 0, 3, last=True).write(file, table)
    opened = open_features(tmp_path / "f.parquet")
    (block,) = opened.blocks()
    assert block.vectors.tolist() == [[1, 1, 1]]
    assert opened.entries(block.ids) == [Entry("a.jpg", 4, 5)]


def test_paths_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    path = os.fsdecode(b"photos/caf\xe9.jpg")
    opened = open_features(write_features(tmp_path / "f.parquet", clustered(2), ["a.jpg", r"photos/caf\xe9.jpg"]))
    assert ids_of(opened, [path, "b.jpg"]) == {path: 1}


def test_the_fingerprint_of_a_part_is_the_hash_of_its_footer(tmp_path: Path) -> None:
    """Indexes state it: another one would make each of them belong to other features."""
    path = write_features(tmp_path / "f.parquet", clustered(20))
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    (part,) = open_features(path).parts
    assert part.fingerprint == hashlib.sha256(content[-footer:]).hexdigest()


def test_folder_of_parts(tmp_path: Path) -> None:
    first, second = clustered(10), clustered(5, seed=1)
    write_features(tmp_path / "part-00001.parquet", second)
    write_features(tmp_path / "part-00000.parquet", first, failed=[3])
    (tmp_path / "part-00002.parquet.tmp").write_bytes(b"unfinished")
    (tmp_path / "report.json").write_text("{}")
    opened = open_features(tmp_path)
    assert [part.path.name for part in opened.parts] == ["part-00000.parquet", "part-00001.parquet"]
    assert opened.rows == 15
    ids = np.concatenate([block.ids for block in opened.blocks()])
    numbers, rows = np.divmod(ids, PART_IDS)
    assert numbers.tolist() == [0] * 9 + [1] * 5
    assert rows.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4]


def test_rows_by_their_ids(tmp_path: Path) -> None:
    parts = [clustered(20, seed=seed) for seed in range(2)]
    for number, vectors in enumerate(parts):
        write_features(tmp_path / f"part-{number}.parquet", vectors, failed=[1])
    opened = open_features(tmp_path)
    ids = np.array([PART_IDS + 19, 0, PART_IDS, 8])
    assert [picture.path for picture in opened.entries(ids)] == [
        "part-1/19.jpg",
        "part-0/0.jpg",
        "part-1/0.jpg",
        "part-0/8.jpg",
    ]
    np.testing.assert_array_equal(opened.vectors(ids), [parts[1][19], parts[0][0], parts[1][0], parts[0][8]])


def test_rows_by_their_paths(tmp_path: Path) -> None:
    write_features(tmp_path / "part-0.parquet", clustered(3), ["a", "b", "c"], failed=[1])
    write_features(tmp_path / "part-1.parquet", clustered(3), ["b", "a", "d\\xff"])
    found = ids_of(open_features(tmp_path), ["d\\xff", "a", "b", "nowhere"])
    assert found == {"a": 0, "b": PART_IDS, "d\\xff": PART_IDS + 2}


def test_paths_are_fetched_for_many_row_groups_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{row}.jpg" for row in range(60)]
    opened = open_features(write_features(tmp_path / "f.parquet", clustered(60), names, failed=[20, 59]))  # groups of 7
    monkeypatch.setattr(parts, "_ROWS_AT_ONCE", 25)
    read, files = list[list[int]](), pq.ParquetFile

    class Noting(files):  # type: ignore[misc, valid-type]
        def iter_batches(self, *arguments: object, row_groups: list[int], columns: list[str]) -> object:
            assert columns == ["path", "status"]
            read.append(row_groups)
            return super().iter_batches(*arguments, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(pq, "ParquetFile", Noting)
    assert ids_of(opened, names) == {name: row for row, name in enumerate(names) if row not in (20, 59)}
    assert read == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]


@pytest.mark.parametrize("call", ["lookup(['f/3.jpg'])", "vectors(np.array([3]))", "entries(np.array([3]))"])
def test_a_query_does_not_import_pandas(tmp_path: Path, call: str) -> None:
    path = write_features(tmp_path / "f.parquet", clustered(9))
    code = f"import sys, numpy as np, pnasnet.vectors as v; v.open_features(sys.argv[1]).{call}"
    command = [sys.executable, "-c", f"{code}; print('pandas' in sys.modules)", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    assert done.stdout.split() == ["False"]


def test_float16(tmp_path: Path) -> None:
    vectors = clustered(9)
    opened = open_features(write_features(tmp_path / "f.parquet", vectors, kind=pa.float16()))
    (block,) = opened.blocks()
    assert block.vectors.dtype == np.float32
    np.testing.assert_array_equal(block.vectors, vectors.astype(np.float16))


def test_null_numbers_become_nan(tmp_path: Path) -> None:
    table = pq.read_table(write_features(tmp_path / "f.parquet", clustered(1, length=2)))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1, None], pa.float32()), 2)
    pq.write_table(table.set_column(1, table.schema.field(1), vectors), tmp_path / "f.parquet")
    (block,) = open_features(tmp_path / "f.parquet").blocks()
    np.testing.assert_array_equal(block.vectors, [[1, np.nan]])


def test_one_of_several_columns(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.parquet", clustered(9), columns=["large", "mobile"])
    assert open_features(path, "mobile").column == "mobile"
    with pytest.raises(InputError, match=r"2 columns of vectors \(large, mobile\): name one with --column"):
        open_features(path)
    with pytest.raises(UnknownNameError, match="unknown column of vectors 'mobil': did you mean mobile"):
        open_features(path, "mobil")


@pytest.mark.parametrize("key", ["model", "weights_sha256", "endpoint", "preset", "image_size", "exif", "precision"])
def test_parts_that_cannot_be_compared(tmp_path: Path, key: str) -> None:
    write_features(tmp_path / "part-0.parquet", clustered(3))
    write_features(tmp_path / "part-1.parquet", clustered(3), metadata={key: "other"})
    with pytest.raises(
        InputError, match=rf"part-1.*part-0.*cannot be compared: {key} is other against {METADATA[key]}$"
    ):
        open_features(tmp_path)


def test_parts_may_differ_in_other_metadata(tmp_path: Path) -> None:
    different = {"version": "0.2.0", "engine": "another", "weights": "/moved"}
    write_features(tmp_path / "part-0.parquet", clustered(3))
    write_features(tmp_path / "part-1.parquet", clustered(3), metadata=different)
    assert open_features(tmp_path).rows == 6


def test_parts_of_another_length(tmp_path: Path) -> None:
    write_features(tmp_path / "part-0.parquet", clustered(3))
    write_features(tmp_path / "part-1.parquet", clustered(3, length=8))
    with pytest.raises(InputError, match=r"part-1\.parquet has vectors of length 8 in .*part-0\.parquet of length 40"):
        open_features(tmp_path)


def test_files_without_features(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing does not exist: name a Parquet file with vectors, or a folder"):
        open_features(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"holds no features \(no part-\*\.parquet\): name a folder"):
        open_features(tmp_path)
    text = tmp_path / "text.parquet"
    for content in (b"", b"PAR1", b"PAR1" * 100, b"no Parquet at all"):
        text.write_bytes(content)
        with pytest.raises(InputError, match=r"text\.parquet cannot be read as Parquet \(.*\): check that it is whole"):
            open_features(text)
    pq.write_table(pa.table({"path": ["a"], "status": ["ok"]}), text)
    with pytest.raises(InputError, match="holds no vectors: no column holds lists of numbers"):
        open_features(text)
    text.unlink()
    text.symlink_to(os.devnull)  # opening a pipe would wait for ever
    with pytest.raises(InputError, match=r"text\.parquet: not a regular file: copy it into one$"):
        open_features(text)


def test_a_file_with_damaged_pages(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.parquet", clustered(5000), group=5000)
    content = bytearray(path.read_bytes())
    content[1000:-20_000] = bytes(len(content) - 21_000)
    path.write_bytes(content)
    opened = open_features(path)
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        list(opened.blocks())
