"""The approximate index: recall, growth, interruptions, damage, and a missing library."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet.errors import InputError, LockedError, MissingExtraError, OutputError
from pnasnet.vectors import approximate as approximate_module
from pnasnet.vectors import build_approximate, open_approximate, open_features, search_exactly
from pnasnet.vectors import recall as recall_module
from pnasnet.vectors.approximate import approximate_folder

from tests.helpers.disks import small_disk_at
from tests.helpers.vectors_data import clustered, write_features

pytest.importorskip("faiss")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Make a folder of two parts, of which one row each has no vector."""
    folder = tmp_path / "features"
    folder.mkdir()
    for number in (0, 2):
        write_features(folder / f"part-{number}.parquet", clustered(400, seed=number), failed=[5], group=50)
    return folder


def recall(folder: Path, queries: Any = None, probes: int | None = None, k: int = 10) -> float:
    """Return the share of the nearest rows that the index finds; fail if a similarity is wrong."""
    features = open_features(folder)
    queries = clustered(40, seed=77) if queries is None else queries
    exact, hits = search_exactly(features, queries, k), 0
    with open_approximate(features) as index:
        index.probes = probes or index.probes
        for query, found, expected in zip(queries, index.search(queries, k), exact, strict=True):
            assert not found.proved
            vectors = features.vectors(found.ids)
            right = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
            np.testing.assert_allclose(found.similarities, right, atol=1e-4)
            assert (np.diff(found.similarities) <= 0).all()
            hits += len(np.intersect1d(found.ids, expected.ids))
    return hits / (k * len(queries))


def test_visiting_all_lists_finds_the_nearest(parts: Path) -> None:
    with build_approximate(open_features(parts)) as index:
        assert index.count == 798
    assert recall(parts) > 0.99  # but for ties after rounding to float16


def test_visiting_one_list_misses_some(parts: Path) -> None:
    build_approximate(open_features(parts)).close()
    assert 0.2 < recall(parts, probes=1) < 0.99


def test_of_few_vectors_all_lists_are_visited(parts: Path) -> None:
    with build_approximate(open_features(parts)) as index:
        assert (index.probes, index.recall) == (18, None)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Make a folder of three parts, large enough to measure recall, in no clear clusters."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(3):
        write_features(folder / f"part-{number}.parquet", clustered(2000, 12, seed=number), failed=[7], group=500)
    return folder


def test_as_few_lists_are_visited_as_find_99_of_100(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of vectors that the index does not hold; the measurement is on held-out ones, which it holds."""
    monkeypatch.setattr(approximate_module, "_SEGMENT_BYTES", 1)  # one for each part
    monkeypatch.setattr(recall_module, "_FEWEST_LISTS", 1)
    features, queries = open_features(many), clustered(400, 12, seed=99)
    exact = search_exactly(features, queries, 10)
    with build_approximate(features) as index:
        assert index.recall is not None
        assert 1 < index.probes < 100 < 4 * features.rows**0.5 / 2
        shares = {}
        for probes in (index.probes, max(1, index.probes // 4)):
            index.probes = probes
            found = index.search(queries, 10)
            hits = [len(np.intersect1d(one.ids, other.ids)) for one, other in zip(found, exact, strict=True)]
            shares[probes] = sum(hits) / (10 * len(queries))
    default, quarter = shares.values()
    assert 0.99 <= default < 1
    assert index.recall == pytest.approx(default, abs=0.005)
    assert quarter < 0.99


def test_the_number_of_lists_is_measured_again_when_vectors_are_added(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three times as many vectors, the nearest are nearer, and in fewer lists."""
    monkeypatch.setattr(recall_module, "_FEWEST_LISTS", 1)
    for number in (1, 2):
        (many / f"part-{number}.parquet").rename(many / f"later-{number}.parquet")
    before = build_approximate(open_features(many))
    for number in (1, 2):
        (many / f"later-{number}.parquet").rename(many / f"part-{number}.parquet")
    with before, build_approximate(open_features(many)) as after:
        assert after.count == 3 * before.count
        assert (before.recall, before.probes) != (after.recall, after.probes)
    folder = approximate_folder(many)
    assert sorted(path.name for path in folder.glob("segment-*.f32")) == ["segment-0.f32", "segment-1.f32"]
    assert recall(many, queries=clustered(200, 12, seed=99)) >= 0.99


def test_new_parts_are_added_and_known_ones_not_read(parts: Path) -> None:
    build_approximate(open_features(parts)).close()
    write_features(parts / "part-1.parquet", clustered(300, seed=1))  # between the others by its name
    with pytest.raises(InputError, match=r"features\.approximate lacks 1 of 3 parts: finish it with --index --approx"):
        open_approximate(open_features(parts))
    read: dict[str, int] = {}
    build_approximate(open_features(parts), progress=lambda stage, done, total: read.update({stage: done})).close()
    assert read == {"index": 300}
    assert recall(parts) > 0.99
    assert len(list(approximate_folder(parts).glob("segment-*.faiss"))) == 2


def test_a_much_larger_table_is_indexed_again(parts: Path) -> None:
    build_approximate(open_features(parts)).close()
    write_features(parts / "part-3.parquet", clustered(4000, seed=3))
    stages: set[str] = set()
    build_approximate(open_features(parts), progress=lambda stage, done, total: stages.add(stage)).close()
    assert stages == {"train", "index"}
    assert recall(parts, probes=1000) > 0.99  # all lists


def test_segments_are_bounded_and_kept_if_a_run_is_interrupted(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate_module, "_SEGMENT_BYTES", 1)  # one for each part
    features = open_features(parts)

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "index" and done > 399:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_approximate(features, progress=stop)
    with pytest.raises(InputError, match="lacks 1 of 2 parts: finish it"):
        open_approximate(features)
    first = (approximate_folder(parts) / "segment-0.faiss").stat().st_mtime_ns
    build_approximate(features).close()
    assert (approximate_folder(parts) / "segment-0.faiss").stat().st_mtime_ns == first
    assert recall(parts) > 0.99


@pytest.mark.parametrize(("per_list", "lists"), [(39, 18), (1, 112), (1000, 1)])
def test_lists_grow_with_the_square_root_of_the_rows(
    parts: Path, per_list: int, lists: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 798 rows 4 * sqrt(798) = 112, but each list needs enough of the 719 in the sample to train its centroid."""
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(approximate_module, "_PER_LIST", per_list)
    build_approximate(open_features(parts)).close()
    assert faiss.read_index(str(approximate_folder(parts) / "trained.faiss")).nlist == lists


def test_the_sample_is_bounded(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate_module, "_SAMPLE_BYTES", 4 * 40 * 100)
    build_approximate(open_features(parts)).close()
    assert recall(parts) > 0.99


def test_a_row_is_not_its_own_neighbour_and_vectors_without_direction_are_last(tmp_path: Path) -> None:
    vectors = clustered(30)
    vectors[7], vectors[4], vectors[5, 2] = vectors[3], 0, np.nan
    features = open_features(write_features(tmp_path / "f.parquet", vectors))
    with build_approximate(features) as index:
        (found,) = index.search(vectors[[3]], 30, without=[3])
    assert found.ids[0] == 7
    assert 3 not in found.ids
    assert set(found.ids[-2:]) <= {4, 5}


@pytest.mark.parametrize("name", ["segment-0.faiss", "segment-0.f32", "trained.faiss", "held-out.f32"])
@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_damaged_files(parts: Path, name: str, damage: str) -> None:
    build_approximate(open_features(parts)).close()
    path = approximate_folder(parts) / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "short" else bytes(len(content)))
    write_features(parts / "part-3.parquet", clustered(100, seed=3))
    with pytest.raises(InputError, match=r"the index .*features\.approximate is damaged: remove the folder"):
        build_approximate(open_features(parts))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"segments": [-1]}, "is damaged"), ({"segments": ["x"]}, "is damaged"), ({"surprise": 1}, "is damaged"),
     ({"segments": [7]}, "is damaged"), ({"version": 1}, "of version 1, not 2"), ({"column": "x"}, "of the column x"),
     ({"probes": 0}, "is damaged"), ({"found": 5}, "is damaged")],
)  # fmt: skip
def test_a_dishonest_manifest(parts: Path, changes: dict[str, object], message: str) -> None:
    build_approximate(open_features(parts)).close()
    path = approximate_folder(parts) / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        open_approximate(open_features(parts))


def test_errors_are_one_line(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = open_features(parts)
    with pytest.raises(InputError, match="has no approximate index: build it with --index --approximate"):
        open_approximate(features)
    nothing = open_features(write_features(tmp_path / "none.parquet", clustered(4), failed=range(4)))
    with pytest.raises(InputError, match="all of its 4 images failed"):
        build_approximate(nothing)

    def another(stage: str, done: int, total: int | None) -> None:
        with pytest.raises(LockedError, match="is in use by another run"):
            build_approximate(features)

    build_approximate(features, progress=another).close()
    write_features(parts / "part-0.parquet", clustered(60, seed=9))
    with pytest.raises(InputError, match=r"part-0\.parquet has changed"):
        open_approximate(open_features(parts))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        MissingExtraError, match=r"an approximate index needs faiss-cpu.*pip install 'pnasnet\[faiss\]'"
    ):
        build_approximate(features)


def test_a_full_disk(parts: Path, tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "disk", "64k") as disk:
        with pytest.raises(OutputError, match=r"cannot write .*; free some space, and run it again"):
            build_approximate(open_features(parts), disk / "index")
        assert not list(disk.glob("index/.?*.faiss"))
