"""Near duplicates: against all pairs, in chains, among many copies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pnasnet.errors import InputError
from pnasnet.vectors import THRESHOLD, Group, build_index, duplicates, find_duplicates, open_features
from pnasnet.vectors.sketch import unit

from tests.helpers.vectors_data import clustered, cosines, write_features


def groups_of(folder: Path, vectors: NDArray[np.float32], threshold: float = THRESHOLD) -> list[Group]:
    features = open_features(write_features(folder / "f.parquet", vectors, group=100))
    with build_index(features) as index:
        return find_duplicates(index, threshold)


def members(groups: list[Group]) -> list[list[int]]:
    return [group.ids.tolist() for group in groups]


def expected_groups(vectors: NDArray[np.float32], threshold: float, order: Sequence[int]) -> list[list[int]]:
    """Return the groups by brute force: the image to keep, and its near duplicates."""
    rounded = unit(vectors).astype(np.float16).astype(np.float32)  # as in the index
    alike = cosines(rounded, rounded) >= threshold
    left, found = list(order), []
    while left:
        group = [left[0], *(other for other in left[1:] if alike[left[0], other])]
        left = [other for other in left if other not in group]
        if len(group) > 1:
            found.append(group)
    return sorted(found, key=lambda group: (-len(group), group[0]))


@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.98, 0.995])
def test_groups_equal_those_of_brute_force(tmp_path: Path, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", 32)
    monkeypatch.setattr(duplicates, "_COLUMNS", 48)
    monkeypatch.setattr(duplicates, "_AT_ONCE", 8)
    vectors = clustered(300, 300)
    rng = np.random.default_rng(3)
    vectors[150:] = vectors[:150] + rng.uniform(0, 0.5, (150, 1)).astype(np.float32) * rng.random(
        (150, 300), np.float32
    )
    expected = expected_groups(vectors, threshold, range(300))
    assert expected
    found = groups_of(tmp_path, vectors, threshold)
    assert [(ids[0], sorted(ids)) for ids in members(found)] == [(ids[0], sorted(ids)) for ids in expected]
    for group in found:
        assert group.similarities.min() >= threshold - 1e-3
        assert (np.diff(group.similarities) <= 1e-6).all()


def test_exact_duplicates_at_one(tmp_path: Path) -> None:
    vectors = clustered(50, 300)
    vectors[40], vectors[49] = 3 * vectors[10], vectors[10]
    (group,) = groups_of(tmp_path, vectors, 1.0)
    assert group.ids.tolist() == [10, 40, 49]
    np.testing.assert_allclose(group.similarities, 1, atol=1e-6)
    assert group.similarities.max() <= 1


def test_groups_do_not_chain(tmp_path: Path) -> None:
    angles = np.array([0.0, 0.2, 0.4, 0.6, 2.0])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    first, second = groups_of(tmp_path, vectors, 0.97)
    assert [first.ids.tolist(), second.ids.tolist()] == [[0, 1], [2, 3]]
    np.testing.assert_allclose(first.similarities, [1, np.cos(0.2)], atol=1e-3)


def test_the_image_with_the_most_pixels_is_kept(tmp_path: Path) -> None:
    """The largest group comes first."""
    path = write_features(tmp_path / "f.parquet", np.eye(9, dtype=np.float32)[[0, 0, 1, 1, 1, 1, 2]])
    table = pq.read_table(path)
    widths = pa.array([10, 20, 5, None, 9, 9, 99], pa.int32())
    pq.write_table(table.set_column(table.schema.get_field_index("width"), "width", widths), path)
    with build_index(open_features(path)) as index:
        assert members(find_duplicates(index)) == [[4, 2, 3, 5], [1, 0]]


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


def test_images_without_a_direction_are_not_similar(tmp_path: Path) -> None:
    assert groups_of(tmp_path, np.zeros((5, 7), np.float32)) == []


def test_progress_counts_all(tmp_path: Path) -> None:
    features = open_features(write_features(tmp_path / "f.parquet", clustered(30)))
    seen: list[tuple[str, int, int | None]] = []
    with build_index(features) as index:
        find_duplicates(index, progress=lambda *told: seen.append(told))
    assert seen[-1] == ("compare", 30, 30)


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_impossible_thresholds(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(InputError, match="threshold must be more than 0 and at most 1"):
        groups_of(tmp_path, clustered(3), threshold)
