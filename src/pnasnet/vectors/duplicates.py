"""Finds groups of near duplicates."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..support.arguments import checked
from ..support.progress import Progress, counter, silent
from ..support.typed import number
from .features import Ids
from .index import VectorIndex
from .sketch import MARGIN, Vectors

THRESHOLD = 0.95
"""Default cosine similarity from which two images are near duplicates; docs/similar.md shows examples."""
RULE = "keep: the image with the most pixels, or the first row among equals"
"""Which image of a group to keep, as pages and commands print it."""

_ROWS, _COLUMNS = 1024, 8192
"""Shape of the float32 bounds in memory at a time: 32 MiB."""
_AT_ONCE = 1024

Places = NDArray[np.int64]
"""Places of vectors in the index."""


@dataclass(frozen=True)
class Group:
    """An image to keep, and its near duplicates.

    Attributes:
        ids: the images' rows, int64 [n]: the image to keep, then the others, most similar first.
        similarities: cosine similarity of each image to the first one, float32 [n], at or above the threshold.

    Example:
        >>> from pnasnet.vectors import build_index, find_duplicates, open_features
        >>> with build_index(open_features("features.parquet")) as index:
        ...     (group,) = find_duplicates(index, threshold=0.01)
        >>> len(group.ids), float(group.similarities[0])
        (4, 1.0)
    """

    ids: Ids
    similarities: Vectors


def check_threshold(threshold: float) -> None:
    """Raise `InputError` unless the threshold is above 0 and at most 1."""
    if not 0 < number("threshold", threshold) <= 1:
        raise InputError(f"threshold must be more than 0 and at most 1, not {threshold:g}")


@checked
def find_duplicates(index: VectorIndex, threshold: float = THRESHOLD, *, progress: Progress = silent) -> list[Group]:
    """Return groups of near duplicates, largest first: similarity to the image to keep is at least `threshold`.

    Images are visited in the order of `RULE`. An image without a group starts one, and all similar images that have no
    group join it. So groups do not chain, no two images to keep are similar, and no image is in two groups. All pairs
    are compared, first by their sketches: time grows with the square of the number of vectors, memory by about 60 bytes
    per vector. Members of a group are not compared again, so a thousand copies take a thousand comparisons.

    Raises `InputError` unless the threshold is above 0 and at most 1. `progress` receives the vectors done in the stage
    `compare`.

    Example:
        >>> from pnasnet.vectors import build_index, find_duplicates, open_features
        >>> with build_index(open_features("features.parquet")) as index:
        ...     find_duplicates(index, 0.95)
        []
    """
    check_threshold(threshold)
    # Because of rounding, exact duplicates may be slightly less similar than 1.
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
    """Return for each vector the place of the one to keep instead (-1 for none), and the similarity of the two."""
    order = np.argsort(-index.features.pixels(index.ids(np.arange(index.count))), kind="stable")
    leaders, similarities = np.full(index.count, -1, np.int64), np.zeros(index.count, np.float32)
    advance = counter(progress, "compare", index.count)
    for rows in index.blocks(_ROWS):
        later = (slice(start, min(start + _COLUMNS, index.count)) for start in range(rows.stop, index.count, _COLUMNS))
        # First compare the rows with one another, which decides which of them lead a group.
        for columns in (rows, *later):
            for row, others in _open_pairs(index, order[rows], order[columns], leaders, threshold - MARGIN):
                _join(index, leaders, similarities, row, others, threshold)
        advance(rows.stop - rows.start)
    return leaders, similarities


def _open_pairs(
    index: VectorIndex, rows: Places, columns: Places, leaders: Places, bound: float
) -> Iterator[tuple[int, Places]]:
    """Yield each row without a group, with the later columns whose bounds reach `bound`."""
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
    """Let those of `others` that are similar and have no group join that of `row`, unless `row` is in another."""
    if leaders[row] >= 0 or not len(others := others[leaders[others] < 0]):
        return
    vector = index.vectors(np.array([row]))[0]
    for start in range(0, len(others), _AT_ONCE):
        some = others[start : start + _AT_ONCE]
        found = index.vectors(some) @ vector
        alike = found >= threshold
        leaders[some[alike]], similarities[some[alike]] = row, found[alike]
