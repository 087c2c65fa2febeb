"""Groups of pictures that are nearly the same."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..support.progress import Progress, counter, silent
from .features import Ids
from .index import VectorIndex
from .sketch import MARGIN, Vectors

THRESHOLD = 0.95
"""Cosine similarity from which two pictures count as nearly the same; see docs/similar.md for what it finds."""
RULE = "keep: the picture with the most pixels, the first row among equals"
"""Which picture of a group is its representative."""

_ROWS, _COLUMNS = 1024, 8192
"""Bounds in memory at a time, 32 MiB."""
_AT_ONCE = 1024

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """A picture to keep, and pictures that are nearly the same.

    Attributes:
        ids: their rows: the one to keep, then the others, most similar first.
        similarities: of each to the one to keep, float32; 1 for that itself. None is below the threshold.
    """

    ids: Ids
    similarities: Vectors


def check_threshold(threshold: float) -> None:
    """Raise `InputError` unless the threshold is above 0 and at most 1."""
    if not 0 < threshold <= 1:
        raise InputError(f"threshold {threshold:g}: give a cosine similarity above 0, at most 1")


def find_duplicates(index: VectorIndex, threshold: float = THRESHOLD, *, progress: Progress = silent) -> list[Group]:
    """Return groups of pictures whose similarity to the one to keep is at least `threshold`, the largest group first.

    Pictures are visited by `RULE`: each one that belongs to no group yet gets all others that are similar enough and
    belong to none. So no group chains, no two pictures to keep are similar, and each picture is in one group at most.
    All pairs are compared, by their sketches first: the time grows with the square of the number of vectors, the memory
    with about 60 bytes a vector. Members of a group are not compared again: a thousand copies take a thousand
    comparisons.

    Raises `InputError` unless the threshold is above 0 and at most 1. The stage of `progress` is `compare`.
    """
    check_threshold(threshold)
    # Rounding may leave exact duplicates a little below 1.
    leaders, similarities = _assign(index, min(threshold, 1 - 1e-5), progress)
    members = np.flatnonzero(leaders >= 0)
    order = members[np.lexsort((members, -similarities[members], leaders[members]))]
    ends = np.flatnonzero(np.diff(leaders[order])) + 1
    groups = [places for places in np.split(order, ends) if len(places)]
    found = [(int(leaders[places[0]]), places) for places in groups]
    found.sort(key=lambda group: (-len(group[1]), group[0]))
    return [
        Group(
            index.ids(np.append(leader, places)),
            np.append(np.float32(1), np.clip(similarities[places], -1, 1)).astype(np.float32),
        )
        for leader, places in found
    ]


def _assign(index: VectorIndex, threshold: float, progress: Progress) -> tuple[Places, Vectors]:
    """Return, for each vector, the place of the one to keep instead of it, or -1; and its similarity to that."""
    order = np.argsort(-index.features.pixels(index.ids(np.arange(index.count))), kind="stable")
    leaders, similarities = np.full(index.count, -1, np.int64), np.zeros(index.count, np.float32)
    advance = counter(progress, "compare", index.count)
    for rows in index.blocks(_ROWS):
        # First among themselves: afterwards it is known which of these rows are leaders.
        for columns in (rows, *_after(index, rows)):
            for row, others in _open_pairs(index, order[rows], order[columns], leaders, threshold - MARGIN):
                _join(index, leaders, similarities, row, others, threshold)
        advance(rows.stop - rows.start)
    return leaders, similarities


def _after(index: VectorIndex, rows: slice) -> Iterator[slice]:
    for start in range(rows.stop, index.count, _COLUMNS):
        yield slice(start, min(start + _COLUMNS, index.count))


def _open_pairs(
    index: VectorIndex, rows: Places, columns: Places, leaders: Places, bound: float
) -> Iterator[tuple[int, Places]]:
    """Yield each of the rows that is in no group, with the later columns that its bounds leave open."""
    same = len(rows) == len(columns) and rows[0] == columns[0]
    free = rows if same else rows[leaders[rows] < 0]
    left = columns if same else columns[leaders[columns] < 0]
    if not len(free) or not len(left):
        return
    is_open = index.sketches[free] @ index.sketches[left].T >= bound
    if same:
        is_open = np.triu(is_open, 1)
    for row, found in zip(free.tolist(), is_open, strict=True):
        if found.any():
            yield row, left[found]


def _join(
    index: VectorIndex, leaders: Places, similarities: Vectors, row: int, others: Places, threshold: float
) -> None:
    """Give `row` those of `others` that are similar and in no group, unless it is in one itself."""
    if leaders[row] >= 0 or not len(others := others[leaders[others] < 0]):
        return
    vector = index.vectors(np.array([row]))[0]
    for start in range(0, len(others), _AT_ONCE):
        some = others[start : start + _AT_ONCE]
        found = index.vectors(some) @ vector
        alike = found >= threshold
        leaders[some[alike]], similarities[some[alike]] = row, found[alike]
