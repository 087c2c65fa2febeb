"""Groups of pictures that are nearly the same."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .features import Ids
from .index import VectorIndex
from .sketch import MARGIN, Vectors

THRESHOLD = 0.95
"""Cosine similarity from which on two pictures are taken for nearly the same; docs/similar.md says what it finds."""

_ROWS, _COLUMNS = 1024, 8192
"""So many bounds are in memory at a time, 32 MiB."""
_AT_ONCE = 1024

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Pictures each of which is nearly the same as another one of them.

    Attributes:
        ids: their rows, the first one first.
        similarities: of each to the first, float32; 1 for the first itself. In a chain they may be below the threshold.
    """

    ids: Ids
    similarities: Vectors


def check_threshold(threshold: float) -> None:
    """Raise `InputError` where the threshold is not above 0 and at most 1."""
    if not 0 < threshold <= 1:
        raise InputError(f"threshold {threshold:g}: give a cosine similarity above 0, at most 1")


def find_duplicates(
    index: VectorIndex, threshold: float = THRESHOLD, *, progress: Callable[[int], None] = lambda vectors: None
) -> list[Group]:
    """Return the groups that are connected by pairs of a similarity of at least `threshold`, in order of their first.

    All pairs are compared, by their sketches first: the time grows with the square of the number of vectors, the
    memory with 8 bytes a vector. Where a pair is in one group already, it is not looked at, so that a thousand copies
    of one picture take a thousand comparisons.

    Raises `InputError` where the threshold is not above 0 and at most 1.
    """
    check_threshold(threshold)
    # Rounding may leave exact duplicates a little below 1.
    parents = _connect(index, min(threshold, 1 - 1e-5), progress)
    roots = _find(parents, np.arange(index.count))
    sizes = np.bincount(roots, minlength=index.count)
    members = np.flatnonzero(sizes[roots] > 1)
    order = np.argsort(roots[members], kind="stable")
    members = members[order]
    ends = np.flatnonzero(np.diff(roots[members])) + 1
    return [_group(index, places) for places in np.split(members, ends) if len(places)]


def _connect(index: VectorIndex, threshold: float, progress: Callable[[int], None]) -> Places:
    """Return, for each vector, another of its group that comes before it; itself where it is the first."""
    parents = np.arange(index.count)
    for rows in index.blocks(_ROWS):
        for columns in index.blocks(_COLUMNS):
            if columns.stop > rows.start:  # each pair once, from the first of the two
                for row, others in _open_pairs(index, rows, columns, threshold - MARGIN):
                    _join(index, parents, row, others, threshold)
        progress(rows.stop - rows.start)
    return parents


def _open_pairs(index: VectorIndex, rows: slice, columns: slice, bound: float) -> Iterator[tuple[int, Places]]:
    """Yield the rows of a tile with those later columns whose bound leaves it open whether they are alike."""
    bounds = index.sketches[rows] @ index.sketches[columns].T
    first, second = np.nonzero(bounds >= bound)
    later = second + columns.start > first + rows.start
    first, second = first[later] + rows.start, second[later] + columns.start
    if len(first):
        starts = np.flatnonzero(np.diff(first, prepend=-1))
        yield from zip(first[starts].tolist(), np.split(second, starts[1:]), strict=True)


def _join(index: VectorIndex, parents: Places, row: int, others: Places, threshold: float) -> None:
    """Join the group of `row` with the groups of those of `others` that are alike."""
    own = _find(parents, np.array([row]))[0]
    others = others[_find(parents, others) != own]
    if not len(others):
        return
    vector = index.vectors(np.array([row]))[0]
    for start in range(0, len(others), _AT_ONCE):
        some = others[start : start + _AT_ONCE]
        alike = some[index.vectors(some) @ vector >= threshold]
        roots = np.unique(np.append(_find(parents, alike), _find(parents, np.array([row]))))
        parents[roots] = roots[0]


def _find(parents: Places, places: Places) -> Places:
    """Return the first vector of the group of each, and shorten the way to it."""
    roots = parents[places]
    while not np.array_equal(above := parents[roots], roots):
        roots = above
    parents[places] = roots
    return roots


def _group(index: VectorIndex, places: Places) -> Group:
    first = index.vectors(places[:1])[0]
    similarities = np.concatenate(
        [index.vectors(places[start : start + _AT_ONCE]) @ first for start in range(0, len(places), _AT_ONCE)]
    )
    return Group(index.ids(places), np.clip(similarities, -1, 1))
