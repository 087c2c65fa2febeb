"""The files of an index: growth, interruptions, full disks, damage, and other features."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import InputError, LockedError, OutputError
from pnasnet.vectors import Features, build, build_index, open_features, open_index, search_exactly
from pnasnet.vectors.features import VectorBlock
from pnasnet.vectors.index import index_folder
from pnasnet.vectors.index_files import crc32c

from tests.helpers.disks import small_disk_at
from tests.helpers.vectors_data import clustered, cosines, write_features


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Make a folder of two parts."""
    folder = tmp_path / "features"
    folder.mkdir()
    for number in (0, 2):
        write_features(folder / f"part-{number}.parquet", clustered(60, seed=number), failed=[5], group=25)
    return folder


def same_answers(features: Features) -> None:
    queries = clustered(5, seed=77)
    index = open_index(features)
    assert index is not None
    with index:
        answers = zip(queries, index.search(queries, 7), search_exactly(features, queries, 7), strict=True)
        for query, found, expected in answers:
            np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-4)
            stored = features.vectors(found.ids)
            np.testing.assert_allclose(cosines(query[None], stored)[0], found.similarities, atol=1e-4)


def test_the_files_of_an_index(parts: Path) -> None:
    features = open_features(parts)
    assert open_index(features) is None
    build_index(features).close()
    assert index_folder(parts) == parts.with_name("features.index")
    assert sorted(path.name for path in index_folder(parts).iterdir() if path.name != ".lock") == [
        "basis-1.npy",
        "ids.i64",
        "index.json",
        "sketches-1.f32",
        "vectors.f16",
    ]
    same_answers(features)


def test_only_new_parts_are_read(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(open_features(parts)).close()
    before = (index_folder(parts) / "vectors.f16").read_bytes()
    write_features(parts / "part-1.parquet", clustered(30, seed=1))  # between the others by its name
    features = open_features(parts)
    with pytest.raises(InputError, match=r"features\.index lacks 1 of 3 parts: finish it with --index"):
        open_index(features)
    read: list[int | None] = []
    copied: dict[str, int] = {}
    blocks = Features.blocks

    def reading(self: Features, part: int | None = None) -> Iterator[VectorBlock]:
        read.append(part)
        return blocks(self, part)

    monkeypatch.setattr(Features, "blocks", reading)
    with build_index(features, progress=lambda stage, done, total: copied.update({stage: done})) as index:
        assert index.count == 118 + 30
    assert read == [1]
    assert copied == {"index": 30}
    assert (index_folder(parts) / "vectors.f16").read_bytes().startswith(before)
    monkeypatch.undo()
    same_answers(features)
    build_index(features, progress=lambda stage, done, total: copied.update({stage: done})).close()
    assert copied == {"index": 0}


def test_an_outgrown_basis_is_computed_again(parts: Path) -> None:
    build_index(open_features(parts)).close()
    write_features(parts / "part-3.parquet", clustered(400, seed=3))
    build_index(open_features(parts)).close()
    names = {path.name for path in index_folder(parts).iterdir()}
    assert {"basis-2.npy", "sketches-2.f32"} <= names
    assert not {"basis-1.npy", "sketches-1.f32"} & names
    same_answers(open_features(parts))


def test_an_interrupted_run_is_resumed(parts: Path) -> None:
    """An unfinished index is never taken for a finished one, and the result is the same."""
    features = open_features(parts)
    build_index(features).close()
    whole = {path.name: path.read_bytes() for path in index_folder(parts).glob("*.[fi]*")}
    shutil.rmtree(index_folder(parts))

    limit = 0

    def stop(stage: str, done: int, total: int | None) -> None:
        if done > limit:
            raise KeyboardInterrupt

    for allowed in (60, 10):  # within the second part, which both runs start
        limit = allowed
        with pytest.raises(KeyboardInterrupt):
            build_index(features, progress=stop)
        with pytest.raises(InputError, match="finish it with --index"):
            open_index(features)
    again: list[int] = []
    build_index(features, progress=lambda stage, done, total: again.append(done)).close()
    assert again[-1] == 59  # the first part was done
    assert {path.name: path.read_bytes() for path in index_folder(parts).glob("*.[fi]*")} == whole


def test_interrupted_among_the_sketches(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = open_features(parts)

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "sketch", stop)
        with pytest.raises(KeyboardInterrupt):
            build_index(features)
    with pytest.raises(InputError, match="is not finished: finish it with --index"):
        open_index(features)
    build_index(features).close()
    same_answers(features)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk", "512k") as disk:
        yield disk


def test_full_disk(small_disk: Path, tmp_path: Path) -> None:
    for number in range(4):
        write_features(tmp_path / f"part-{number}.parquet", clustered(200, 400, seed=number))
    features = open_features(tmp_path)
    folder = small_disk / "index"
    with pytest.raises(OutputError, match=r"cannot write .*index: No space left on device; free some space, and run"):
        build_index(features, folder)
    with pytest.raises(InputError, match=r"lacks \d of 4 parts|no finished index"):
        open_index(features, folder)
    for path in folder.iterdir():  # finished parts are kept
        shutil.copy(path, tmp_path / path.name)
    done = json.loads((folder / "index.json").read_text())
    assert 1 <= len(done["parts"]) < 4
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    with build_index(features, moved) as index:
        assert index.count == 800


def test_other_features_are_refused(parts: Path, tmp_path: Path) -> None:
    build_index(open_features(parts)).close()
    files = {path.name: path.read_bytes() for path in index_folder(parts).iterdir()}

    def refused(message: str) -> None:
        features = open_features(parts)
        for attempt in (open_index, build_index):
            with pytest.raises(InputError, match=message):
                attempt(features)
        assert {path.name: path.read_bytes() for path in index_folder(parts).iterdir()} == files

    kept = tmp_path / "kept"
    (parts / "part-2.parquet").rename(kept)
    refused(
        r"does not belong to .*features: part-2\.parquet is gone; remove the folder, and build the index again with"
    )
    write_features(parts / "part-2.parquet", clustered(60, seed=9), failed=[5], group=25)
    refused(r"part-2\.parquet has changed")
    for number in (0, 2):
        write_features(parts / f"part-{number}.parquet", clustered(60, seed=number), metadata={"preset": "slim"})
    refused(r"part-0\.parquet has changed")
    for number in (0, 2):
        write_features(parts / f"part-{number}.parquet", clustered(60, 41), columns=["other"])
    refused(r"part-0.parquet has changed")


@pytest.mark.parametrize("name", ["vectors.f16", "ids.i64", "sketches-1.f32", "basis-1.npy"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_damaged_files(parts: Path, name: str, damage: str) -> None:
    features = open_features(parts)
    build_index(features).close()
    path = index_folder(parts) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) - 1] if damage == "short" else b"")
    for attempt in (open_index, build_index):
        with pytest.raises(InputError, match=r"the index .* is damaged: remove the folder, and build"):
            attempt(features)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"parts": 3}', '{"parts": [], "length": 40}', "[" * 100_000, "\x00\xff"]
)
def test_damaged_state(parts: Path, text: str) -> None:
    features = open_features(parts)
    build_index(features).close()
    (index_folder(parts) / "index.json").write_text(text)
    with pytest.raises(InputError, match=r"is damaged( \(.*\))?: remove the folder"):
        open_index(features)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": 10**15}, "is damaged"),
        ({"vectors": -1, "sketched": -1}, "is damaged"),
        ({"sketched": 119, "vectors": 118}, "is damaged"),
        ({"generation": 7}, "is damaged"),
        ({"generation": "../../x"}, "is damaged"),
        ({"basis_crc32c": 1}, "is damaged"),
        ({"surprise": 1}, "is damaged"),
        ({"version": 2}, "an index of version 2, not 1: remove the folder"),
    ],
)
def test_dishonest_state(parts: Path, changes: dict[str, object], message: str) -> None:
    features = open_features(parts)
    build_index(features).close()
    path = index_folder(parts) / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        open_index(features)


@pytest.mark.parametrize("change", ["one dimension", "three dimensions", "another length", "float64", "integers"])
def test_a_basis_of_another_shape_or_type(parts: Path, change: str) -> None:
    """Although its checksum is stated."""
    features = open_features(parts)
    build_index(features).close()
    folder = index_folder(parts)
    basis = np.load(folder / "basis-1.npy")
    other = {
        "one dimension": basis[0],
        "three dimensions": basis[None, :4, :4],
        "another length": np.ascontiguousarray(basis[:, :-1]),
        "float64": basis[:20].astype(np.float64),
        "integers": basis.astype(np.int32),
    }[change]
    np.save(folder / "basis-1.npy", other)
    stated = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(stated | {"basis_crc32c": crc32c(other)}))
    for attempt in (open_index, build_index):
        with pytest.raises(InputError, match=r"the index .* is damaged: remove the folder, and build"):
            attempt(features)


def test_the_manifest_has_at_most_64_mib(parts: Path) -> None:
    features = open_features(parts)
    build_index(features).close()
    path = index_folder(parts) / "index.json"
    path.write_bytes(path.read_bytes().ljust(64 << 20))
    same_answers(features)
    with path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=r"the index .* is damaged: remove the folder, and build"):
        open_index(features)


def test_an_index_of_an_earlier_version_opens(parts: Path) -> None:
    """Its manifest also held the metadata of the features."""
    build_index(open_features(parts)).close()
    path = index_folder(parts) / "index.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"metadata": {"preset": "hub", "model": "pnasnet_large"}})
    )
    same_answers(open_features(parts))
    write_features(parts / "part-3.parquet", clustered(20, seed=3))
    build_index(open_features(parts)).close()
    same_answers(open_features(parts))


def test_rows_that_do_not_exist(parts: Path) -> None:
    features = open_features(parts)
    build_index(features).close()
    path = index_folder(parts) / "ids.i64"
    path.write_bytes(np.full(118, -1, np.int64).tobytes())
    index = open_index(features)
    assert index is not None
    with index, pytest.raises(InputError, match="is damaged"):
        index.search(clustered(1), 1)
    path.write_bytes(np.full(118, 10**6, np.int64).tobytes())  # an existing part, but no such row
    index = open_index(features)
    assert index is not None
    with index, pytest.raises(InputError, match="is damaged"):
        index.search(clustered(1), 1)


def test_oversized_files_are_not_read(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse files of many gigabytes: neither the manifest nor the basis is loaded."""
    features = open_features(parts)
    build_index(features).close()
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("was loaded"))
    for name in ("basis-1.npy", "index.json"):
        with (index_folder(parts) / name).open("r+b") as file:
            file.truncate(1 << 36)
        with pytest.raises(InputError, match="is damaged: remove the folder"):
            open_index(features)


def test_two_runs_at_once(parts: Path) -> None:
    features = open_features(parts)

    def another(stage: str, done: int, total: int | None) -> None:
        with pytest.raises(LockedError, match=r"features\.index is in use by another run: wait until it ends"):
            build_index(features)

    build_index(features, progress=another).close()
    same_answers(features)


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    features = open_features(write_features(tmp_path / "f.parquet", clustered(5)))
    (tmp_path / "f.parquet.index").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write .*f\.parquet\.index: File exists"):
        build_index(features)
