"""What the Parquet file holds, and what is left of it when something goes wrong."""

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import OutputError
from pnasnet.extract import Batch, ParquetSink, Row, sink
from pnasnet.extract.schema import VectorType

from tests.helpers.disks import small_disk_at


def vectors(length: int, metadata: Mapping[str, str] | None = None) -> VectorType:
    return VectorType({"embedding": pa.list_(pa.float32(), length)}, metadata or {})


def batch(start: int, rows: int = 4, features: int = 3) -> Batch:
    """Make rows of which every third has failed."""
    made = tuple(
        Row(f"{i}.jpg", error="bad") if i % 3 == 2 else Row(f"{i}.jpg", 10 + i, 20) for i in range(start, start + rows)
    )
    good = [i for i, row in enumerate(made, start) if row.error is None]
    return Batch(made, {"embedding": np.repeat(np.array(good, np.float32)[:, None], features, axis=1)})


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each batch be a row group."""
    monkeypatch.setattr(sink, "GROUP_BYTES", 1)


def test_file_holds_rows_types_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    with ParquetSink(path, vectors(3, {"pnasnet.module.open": "m"})) as out:
        out.write(
            Batch(
                (Row("0.jpg", 640, 480), Row("1\udcff.jpg", error="bad \udcfe"), Row("ü.jpg", 1, 2)),
                {"embedding": np.eye(2, 3, dtype=np.float32)},
            )
        )
    table = pq.read_table(path)
    assert table.schema.metadata[b"pnasnet.module.open"] == b"m"
    assert {field.name: str(field.type) for field in table.schema} == {
        "path": "string",
        "embedding": "fixed_size_list<element: float>[3]",
        "width": "int32",
        "height": "int32",
        "status": "string",
        "error": "string",
    }
    assert table.to_pylist() == [
        {"path": "0.jpg", "embedding": [1, 0, 0], "width": 640, "height": 480, "status": "ok", "error": None},
        {
            "path": "1\\xff.jpg",
            "embedding": None,
            "width": None,
            "height": None,
            "status": "error",
            "error": "bad \\xfe",
        },
        {"path": "ü.jpg", "embedding": [0, 1, 0], "width": 1, "height": 2, "status": "ok", "error": None},
    ]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("batches", [[], [Batch((Row("0.jpg", error="bad"),) * 5, {})]])
def test_file_without_any_vector(tmp_path: Path, batches: list[Batch]) -> None:
    with ParquetSink(tmp_path / "f.parquet", vectors(3)) as out:
        for each in batches:
            out.write(each)
    table = pq.read_table(tmp_path / "f.parquet")
    assert len(table) == 5 * len(batches)
    assert table["embedding"].null_count == len(table)


def test_row_groups_are_written_as_it_goes(tmp_path: Path) -> None:
    path, features = tmp_path / "f.parquet", 4320
    with ParquetSink(path, vectors(features)) as out:
        for start in range(0, 2000, 8):
            out.write(batch(start, 8, features))
        assert out.rows >= 1200
        assert out.partial.stat().st_size > 1 << 20
    file = pq.ParquetFile(path)
    assert 2 <= file.num_row_groups <= 4
    embedding = file.metadata.row_group(0).column(1)
    assert embedding.statistics is None
    assert "BYTE_STREAM_SPLIT" in embedding.encodings
    column = file.read()["embedding"].combine_chunks()
    assert len(column) == 2000
    assert column[1999].as_py() == [1999.0] * features
    assert column[2].as_py() is None


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_error_leaves_a_partial_file_with_all_rows_done(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "features.parquet"

    def run() -> None:
        with ParquetSink(path, vectors(3, {"k": "v"})) as out:
            for start in range(0, 12, 4):
                out.write(batch(start))
            raise kind

    with pytest.raises(kind) as caught:
        run()
    partial = tmp_path / "features.partial.parquet"
    assert caught.value.__notes__ == [f"the first 12 rows are in {partial}"]
    assert pq.read_table(partial)["path"].to_pylist() == [f"{i}.jpg" for i in range(12)]
    assert not path.exists()


def test_rows_that_wait_for_their_row_group_are_kept_too(tmp_path: Path) -> None:
    def run() -> None:
        with ParquetSink(tmp_path / "f.parquet", vectors(3)) as out:
            out.write(batch(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(pq.read_table(tmp_path / "f.partial.parquet")) == 4


def test_error_before_the_first_row_leaves_nothing(tmp_path: Path) -> None:
    def run() -> None:
        with ParquetSink(tmp_path / "f.parquet", vectors(3)):
            raise RuntimeError("early")

    with pytest.raises(RuntimeError, match="early") as caught:
        run()
    assert not hasattr(caught.value, "__notes__")
    assert not list(tmp_path.iterdir())


def fill(path: Path, features: int = 512) -> None:
    with ParquetSink(path, vectors(features)) as out:
        rng = np.random.default_rng(0)
        for start in range(0, 10_000, 64):
            rows = tuple(Row(f"{i}.jpg", 1, 1) for i in range(start, start + 64))
            out.write(Batch(rows, {"embedding": rng.random((64, features), np.float32)}))


def check_partial(error: OutputError, folder: Path) -> None:
    partial = folder / "f.partial.parquet"
    table = pq.read_table(partial)
    assert 0 < len(table) < 10_000
    assert table["path"].to_pylist() == [f"{i}.jpg" for i in range(len(table))]
    assert str(error) == f"cannot write {partial}: No space left on device; free some space, or write elsewhere"
    assert error.__notes__ == [f"the first {len(table):,} rows are in {partial}"]


@pytest.mark.usefixtures("small_groups")
def test_full_disk_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve, calls = os.posix_fallocate, 0

    def limited(descriptor: int, start: int, length: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(descriptor, start, length)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    with pytest.raises(OutputError) as caught:
        fill(tmp_path / "f.parquet")
    check_partial(caught.value, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk", "4m") as disk:
        yield disk


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("fallocate", [True, False])
def test_really_full_disk_keeps_what_was_written(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, fallocate: bool
) -> None:
    if not fallocate:  # as on systems that have none
        monkeypatch.delattr(os, "posix_fallocate")
    with pytest.raises(OutputError) as caught:
        fill(small_disk / "f.parquet")
    check_partial(caught.value, small_disk)
    assert len(pq.read_table(small_disk / "f.partial.parquet")) > 1000  # of the about 2,000 that 4 MB hold


def test_disk_that_is_full_at_once_leaves_nothing(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(4 * 2**20 - 4096))
    with pytest.raises(OutputError, match="No space left on device"):
        ParquetSink(small_disk / "f.parquet", vectors(3))
    assert not (small_disk / "f.partial.parquet").exists()


@pytest.mark.parametrize("name", ["f.parquet", "f.partial.parquet"])
def test_what_is_there_is_replaced_only_on_request(tmp_path: Path, name: str) -> None:
    path = tmp_path / "f.parquet"
    (tmp_path / name).write_text("precious")
    with pytest.raises(OutputError, match=f"{name} exists: "):
        ParquetSink(path, vectors(3))
    assert (tmp_path / name).read_text() == "precious"
    with ParquetSink(path, vectors(3), overwrite=True) as out:
        out.write(batch(0))
        assert name != "f.parquet" or path.read_text() == "precious"  # until the new one is complete
    assert len(pq.read_table(path)) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"there is no folder .*nowhere; create it first"):
        ParquetSink(tmp_path / "nowhere/f.parquet", vectors(3))
    with pytest.raises(OutputError, match="it is a folder; name a file"):
        ParquetSink(tmp_path, vectors(3), overwrite=True)
    with pytest.raises(OutputError, match="File name too long"):
        ParquetSink(tmp_path / ("x" * 300), vectors(3), overwrite=True)
    assert not list(tmp_path.iterdir())


def test_a_second_run_does_not_touch_the_first_ones_file(tmp_path: Path) -> None:
    with ParquetSink(tmp_path / "f.parquet", vectors(3)) as first:
        with pytest.raises(OutputError, match="another run is writing it"):
            ParquetSink(tmp_path / "f.parquet", vectors(3))
        first.write(batch(0))
    assert pq.read_table(tmp_path / "f.parquet", schema=pa.schema([("path", pa.string())])).num_rows == 4


def test_a_second_run_that_starts_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ParquetSink(tmp_path / "f.parquet", vectors(3)) as first:
        monkeypatch.setattr(ParquetSink, "_check", lambda sink, overwrite: None)  # it looked before the first began
        with pytest.raises(OutputError, match="File exists"):
            ParquetSink(tmp_path / "f.parquet", vectors(3))
        first.write(batch(0))
    assert len(pq.read_table(tmp_path / "f.parquet")) == 4
