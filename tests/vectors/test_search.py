"""Searching by reading everything, and by an index: the same answers."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pnasnet.errors import InputError
from pnasnet.vectors import build_index, open_features, search_exactly
from pnasnet.vectors import index as index_module
from pnasnet.vectors.search import NOTHING, keep_best
from pnasnet.vectors.sketch import MARGIN, principal_basis, sketch, unit

from tests.helpers.vectors_data import clustered, cosines, write_features


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("kind", ["clustered", "any direction"])
def test_the_nearest_are_found(tmp_path: Path, kind: str, indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_FIRST", 8)
    monkeypatch.setattr(index_module, "_AT_ONCE", 16)
    monkeypatch.setattr(index_module, "_ROUNDS", 100)
    monkeypatch.setattr(index_module, "_BOUNDS_BYTES", 2 * 8 * 800)  # two queries at a time
    rng = np.random.default_rng(5)
    vectors = clustered(800, 400) if kind == "clustered" else rng.standard_normal((800, 400)).astype(np.float32)
    vectors *= rng.uniform(0.1, 1e5, (800, 1)).astype(np.float32)
    features = open_features(write_features(tmp_path / "f.parquet", vectors, group=100))
    queries = np.concatenate([vectors[:5] + 0.1 * vectors[5:10], vectors[:2]])
    if indexed:
        with build_index(features) as index:
            results = index.search(queries, 9)
    else:
        results = search_exactly(features, queries, 9)
    expected = cosines(queries, vectors)
    for row, found in zip(expected, results, strict=True):
        np.testing.assert_allclose(found.similarities, np.sort(row)[::-1][:9], atol=3e-5)
        np.testing.assert_allclose(row[found.ids], found.similarities, atol=3e-5)
        assert found.proved
    assert results[5].ids[0] == 0
    assert results[5].similarities[0] == pytest.approx(1, abs=1e-6)


def test_an_answer_may_not_be_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors in all directions are about equally far, and the number read is bounded."""
    monkeypatch.setattr(index_module, "_FIRST", 8)
    monkeypatch.setattr(index_module, "_AT_ONCE", 16)
    vectors = np.random.default_rng(5).standard_normal((800, 400)).astype(np.float32)
    with build_index(open_features(write_features(tmp_path / "f.parquet", vectors, group=800))) as index:
        looked: list[int] = []
        read = index.vectors

        def counting(places: NDArray[np.int64]) -> NDArray[np.float32]:
            looked.append(len(places))
            return read(places)

        monkeypatch.setattr(index, "vectors", counting)
        (found,) = index.search(vectors[:1] + 0.5 * vectors[1:2], 2)
    assert not found.proved
    assert sum(looked) <= 12 + 4 * 16
    assert found.ids.tolist() == [0, 1]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_row_is_not_its_own_neighbour(tmp_path: Path, indexed: bool) -> None:
    vectors = clustered(30)
    vectors[7] = vectors[3]
    features = open_features(write_features(tmp_path / "f.parquet", vectors))
    with build_index(features) as index:
        search = index.search if indexed else lambda *a, **b: search_exactly(features, *a, **b)
        with_itself, without = search(vectors[[3, 3]], 3, without=[None, 3])
    assert set(with_itself.ids[:2]) == {3, 7}
    assert without.ids[0] == 7
    assert 3 not in without.ids
    assert len(without.ids) == 3


@pytest.mark.parametrize("indexed", [False, True])
def test_fewer_than_k(tmp_path: Path, indexed: bool) -> None:
    features = open_features(write_features(tmp_path / "f.parquet", clustered(3)))
    with build_index(features) as index:
        search = index.search if indexed else lambda *a, **b: search_exactly(features, *a, **b)
        assert [len(found.ids) for found in search(clustered(2), 10, without=[None, 1])] == [3, 2]


@pytest.mark.parametrize("indexed", [False, True])
def test_vectors_without_direction(tmp_path: Path, indexed: bool) -> None:
    vectors = clustered(20)
    vectors[4], vectors[5, 2], vectors[6, 3] = 0, np.nan, np.inf
    features = open_features(write_features(tmp_path / "f.parquet", vectors))
    with build_index(features) as index:
        search = index.search if indexed else lambda *a, **b: search_exactly(features, *a, **b)
        (found,) = search(vectors[:1], 20)
    assert set(found.ids[-3:]) == {4, 5, 6}
    assert found.similarities[-3:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("indexed", [False, True])
def test_wrong_queries(tmp_path: Path, indexed: bool) -> None:
    features = open_features(write_features(tmp_path / "f.parquet", clustered(20)))
    with build_index(features) as index:
        search = index.search if indexed else lambda *a, **b: search_exactly(features, *a, **b)
        with pytest.raises(InputError, match="k must be at least 1, not 0"):
            search(clustered(1), 0)
        with pytest.raises(InputError, match=r"queries must have shape \[Q, 40\], not \[1, 39\]"):
            search(clustered(1)[:, :39], 1)
    nothing = open_features(write_features(tmp_path / "none.parquet", clustered(4), failed=range(4)))
    with pytest.raises(InputError, match="holds no vectors: all of its 4 images failed"):
        build_index(nothing) if indexed else search_exactly(nothing, clustered(1), 1)


def test_equal_similarities_are_ordered_by_row() -> None:
    best = keep_best(NOTHING, np.arange(6), np.array([1, 2, 2, 2, 2, 0], np.float32), 3)
    assert best.ids.tolist() == [1, 2, 3]
    best = keep_best(best, np.array([6, 7]), np.array([2, 3], np.float32), 3)
    assert best.ids.tolist() == [7, 1, 2]
    assert keep_best(NOTHING, best.ids, best.similarities, 1).ids.tolist() == [7]


@pytest.mark.parametrize("rank", [1, 16, 40])
def test_sketches_bound_similarities(rank: int) -> None:
    for vectors in (clustered(200), np.random.default_rng(1).standard_normal((200, 40)).astype(np.float32)):
        directions = unit(vectors)
        basis = principal_basis(directions[:50], rank)
        np.testing.assert_allclose(basis @ basis.T, np.eye(rank), atol=1e-5)
        sketches = sketch(directions, basis)
        similarities = directions @ directions.T
        assert (sketches @ sketches.T >= similarities - MARGIN / 10).all()
        if rank == 40:
            np.testing.assert_allclose(sketches @ sketches.T, similarities, atol=1e-3)


def test_principal_directions_make_tighter_bounds_than_others() -> None:
    directions = unit(clustered(400, 300))
    others = np.linalg.qr(np.random.default_rng(0).standard_normal((300, 32)))[0].T.astype(np.float32)
    left = [sketch(directions, basis)[:, -1].mean() for basis in (principal_basis(directions, 32), others)]
    assert left[0] < 0.6 * left[1]


def test_a_sample_smaller_than_the_rank() -> None:
    basis = principal_basis(unit(clustered(3, 300)))
    np.testing.assert_allclose(basis @ basis.T, np.eye(255), atol=1e-5)
