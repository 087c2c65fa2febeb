"""Measures how many lists a search of the approximate index must visit.

Some vectors are held out of training. While the index is filled, their nearest neighbours are computed exactly, with
the list that holds each one. A search finds a neighbour if it visits that list. So the recall is known for every number
of lists without a search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sketch import Vectors

NEIGHBOURS = 10
"""Recall is the share of this many nearest neighbours that a search finds."""
_TARGET = 0.99
_ERRORS = 3
"""Standard errors by which the measured recall must exceed the target."""
_COUNT = 1000
"""Number of vectors to hold out."""
_SPACING = 10
"""At most one vector in this many is held out."""
_FEWEST_LISTS = 64
"""Least number of lists: queries that are unlike the indexed vectors need more than held-out vectors do.
Among 1 million vectors, most of them mixtures of real ones, 11 lists found 0.995 of the neighbours of held-out vectors,
but 0.915 of those of real ones; 64 lists found 0.995 of these (`benchmarks/approximate.py`)."""
_LEAST = 100
"""With fewer held-out vectors, recall is not measured, and a search visits all lists."""


@dataclass(frozen=True)
class HeldOutNeighbours:
    """The nearest neighbours of each held-out vector among some vectors, in any order.

    Attributes:
        similarities: cosines, float32 [held out, NEIGHBOURS + 1]; one neighbour is the vector itself.
        visits: number of lists that a search must visit to find each neighbour, float32 of the same shape.
    """

    similarities: Vectors
    visits: Vectors

    @classmethod
    def none(cls, count: int) -> "HeldOutNeighbours":
        """Return a value without neighbours, for `count` held-out vectors."""
        shape = count, NEIGHBOURS + 1
        return cls(np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32))

    def merged(self, similarities: Vectors, visits: Vectors) -> "HeldOutNeighbours":
        """Return the nearest among these and other vectors; the arguments are arrays [held out, any number]."""
        similarities = np.hstack([self.similarities, similarities])
        best = np.argpartition(-similarities, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
        visits = np.hstack([self.visits, visits])
        return HeldOutNeighbours(np.take_along_axis(similarities, best, 1), np.take_along_axis(visits, best, 1))


class HeldOut:
    """Finds the nearest neighbours of held-out vectors while vectors are added to the index.

    Args:
        vectors: the unit vectors that were held out [count, F].
        quantizer: FAISS's index of the centroids.
    """

    def __init__(self, vectors: Vectors, quantizer: Any) -> None:
        self._vectors = vectors
        _, order = quantizer.search(vectors, quantizer.ntotal)
        self._visits = 1 + np.argsort(order, axis=1).astype(np.float32)
        self.found = HeldOutNeighbours.none(len(vectors))

    def see(self, vectors: Vectors, lists: NDArray[np.int64]) -> None:
        """Compare the held-out vectors with unit vectors [n, F] that are added to lists [n]."""
        self.found = self.found.merged(self._vectors @ vectors.T, self._visits[:, lists])


def is_held_out(numbers: NDArray[np.int64], rows: int) -> NDArray[np.bool_]:
    """Return a mask [n] of the vectors to hold out of training, by their numbers among about `rows` vectors."""
    spacing = max(_SPACING, rows // _COUNT)
    held: NDArray[np.bool_] = numbers % spacing == spacing - 1
    return held


@dataclass(frozen=True)
class MeasuredRecall:
    """The number of lists to visit, and how many of the `wanted` neighbours it finds; both 0 if not measured."""

    probes: int
    found: int = 0
    wanted: int = 0


def lists_to_visit(parts: Sequence[HeldOutNeighbours], lists: int) -> MeasuredRecall:
    """Return the smallest number of lists, from 64 up, whose recall exceeds 0.99 by three standard errors.

    Args:
        parts: the neighbours among the vectors of each part of the index.
        lists: the number of lists.
    """
    count = len(parts[0].similarities)
    if count < _LEAST:
        return MeasuredRecall(lists)
    all_of_them = HeldOutNeighbours.none(count)
    for part in parts:
        all_of_them = all_of_them.merged(part.similarities, part.visits)
    # The most similar vector is the held-out vector itself, or equal to it.
    order = np.argsort(-all_of_them.similarities, axis=1, kind="stable")[:, 1:]
    visits = np.take_along_axis(all_of_them.visits, order, 1)
    fewest = min(_FEWEST_LISTS, lists)
    for probes in np.unique(np.maximum(visits, fewest)):
        shares = (visits <= probes).mean(1)
        if shares.mean() - _ERRORS * shares.std() / count**0.5 >= _TARGET:
            break
    return MeasuredRecall(int(probes), int((visits <= probes).sum()), visits.size)
