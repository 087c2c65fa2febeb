"""Near duplicates: against all pairs, in chains, among many copies."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pnasnet.errors import InputError
from pnasnet.vectors import THRESHOLD, Group, build_index, duplicates, find_duplicates, open_features

from tests.helpers.vectors_data import clustered, cosines, write_features


def groups_of(folder: Path, vectors: NDArray[np.float32], threshold: float = THRESHOLD) -> list[Group]:
    features = open_features(write_features(folder / "f.parquet", vectors, group=100))
    with build_index(features) as index:
        return find_duplicates(index, threshold)


def members(groups: list[Group]) -> list[list[int]]:
    return [group.ids.tolist() for group in groups]


def connected(vectors: NDArray[np.float32], threshold: float) -> list[list[int]]:
    """Return the groups by brute force."""
    alike = cosines(vectors, vectors) >= threshold
    left, found = set(range(len(vectors))), []
    while left:
        group, reached = set(), {min(left)}
        while reached:
            group |= reached
            reached = {int(j) for i in reached for j in np.flatnonzero(alike[i])} - group
        left -= group
        if len(group) > 1:
            found.append(sorted(group))
    return found


@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.98, 0.995])
def test_the_groups_of_all_pairs(tmp_path: Path, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", 32)
    monkeypatch.setattr(duplicates, "_COLUMNS", 48)
    monkeypatch.setattr(duplicates, "_AT_ONCE", 8)
    vectors = clustered(300, 300)
    rng = np.random.default_rng(3)
    vectors[150:] = vectors[:150] + rng.uniform(0, 0.5, (150, 1)).astype(np.float32) * rng.random(
        (150, 300), np.float32
    )
    expected = connected(vectors, threshold)
    assert expected
    assert members(groups_of(tmp_path, vectors, threshold)) == expected


def test_exact_duplicates_at_one(tmp_path: Path) -> None:
    vectors = clustered(50, 300)
    vectors[40], vectors[49] = 3 * vectors[10], vectors[10]
    (group,) = groups_of(tmp_path, vectors, 1.0)
    assert group.ids.tolist() == [10, 40, 49]
    np.testing.assert_allclose(group.similarities, 1, atol=1e-6)
    assert group.similarities.max() <= 1


def test_a_chain_is_one_group(tmp_path: Path) -> None:
    angles = np.array([0.0, 0.2, 0.4, 0.6, 2.0])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    (group,) = groups_of(tmp_path, vectors, 0.97)
    assert group.ids.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(group.similarities, np.cos(angles[:4]), atol=1e-3)


def test_many_copies_are_compared_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = open_features(write_features(tmp_path / "f.parquet", np.repeat(clustered(1), 2000, axis=0), group=2000))
    with build_index(features) as index:
        looked = 0
        vectors = index.vectors

        def counting(positions: NDArray[np.int64]) -> NDArray[np.float32]:
            nonlocal looked
            looked += len(positions)
            return vectors(positions)

        monkeypatch.setattr(index, "vectors", counting)
        (group,) = find_duplicates(index)
    assert len(group.ids) == 2000
    assert looked < 3 * 2000


def test_none(tmp_path: Path) -> None:
    assert groups_of(tmp_path, np.eye(7, dtype=np.float32)) == []
    assert groups_of(tmp_path / "..", np.eye(1, 7, dtype=np.float32)) == []


def test_pictures_without_a_direction_are_not_alike(tmp_path: Path) -> None:
    assert groups_of(tmp_path, np.zeros((5, 7), np.float32)) == []


def test_progress_counts_all(tmp_path: Path) -> None:
    features = open_features(write_features(tmp_path / "f.parquet", clustered(30)))
    seen: list[int] = []
    with build_index(features) as index:
        find_duplicates(index, progress=seen.append)
    assert sum(seen) == 30


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_thresholds_that_make_no_sense(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(InputError, match="give a cosine similarity above 0, at most 1"):
        groups_of(tmp_path, clustered(3), threshold)
