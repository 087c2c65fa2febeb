"""The exact index: a folder beside the features, to find the nearest vectors without reading all of them.

    vectors.f16         unit vectors, float16 [N, F], of all rows that have one
    ids.i64             the ids of their rows, int64 [N]; parts are numbered in the index's own order
    sketches-G.f32      their sketches, float32 [N, 256]; G is the generation of the basis
    basis-G.npy         the basis of the sketches' subspace, float32 [255, F]
    index.json          the parts in the index, and the valid length of each file; replaced last

A search reads all sketches, which are small, and the vectors that their bounds do not rule out (see `sketch`). Its
result is exact except for the rounding to float16. Files grow only at their ends, and bytes beyond the lengths in
`index.json` are ignored: so parts can be added, and interrupted runs resumed.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..support.arguments import checked
from ..support.paths import beside
from .features import Features, Ids
from .index_files import IndexFiles
from .manifest import RowMap
from .parts import Numbers
from .search import NOTHING, Nearest, check_queries, keep_best, leave_out, no_vectors
from .sketch import MARGIN, Vectors, sketch, unit

_FIRST = 256
"""Least number of vectors to read before bounds rule out others."""
_AT_ONCE = 1024
"""Vectors in memory at a time."""
_ROUNDS = 5
"""Limit of rounds of reading, which bounds the work for a query."""
_BOUNDS_BYTES = 128 << 20
"""Limit of the estimates and bounds in memory."""


class VectorIndex:
    """The index of some features, open for searching; use it in a `with` statement.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import build_index, open_features
        >>> features = open_features("features.parquet")
        >>> with build_index(features) as index:
        ...     index.count, index.search(features.vectors(np.array([2])), k=2, without=[2])[0].ids.shape
        (4, (2,))
        >>> index = build_index(features)
        >>> index.ids(np.array([0])), index.vectors(np.array([0])).shape, list(index.blocks(rows=1000))
        (array([0]), (1, 960), [slice(0, 4, None)])
        >>> index.close()
    """

    def __init__(self, files: IndexFiles, features: Features) -> None:
        self.features, self._length = features, features.length
        self.count = files.manifest.vectors
        """N, the number of vectors."""
        if not self.count:
            raise no_vectors(features)
        # Not memory-mapped: the system would map whole pages around each vector, which count as memory.
        self._file = files.vectors.open("rb", buffering=0)
        self._basis = files.load_basis()
        rank = len(self._basis)
        with files.sketches().open("rb", buffering=0) as sketches:
            _prefetch(sketches, 0, 0)
        self.sketches = np.asarray(np.memmap(files.sketches(), np.float32, "r", shape=(self.count, rank + 1)))
        """Sketches, float32 [N, rank + 1]: their inner products bound similarities from above."""
        self._ids = np.asarray(np.memmap(files.ids, np.int64, "r", shape=(self.count,)))
        self._rows = RowMap(files.folder, features, files.manifest.parts)

    def __enter__(self) -> "VectorIndex":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._file.close()

    def ids(self, positions: NDArray[np.int64]) -> Ids:
        """Return the ids of the rows at places of the index, int64 [n]. Raises `InputError` if the index is damaged."""
        return self._rows(self._ids[positions])

    def vectors(self, positions: NDArray[np.int64]) -> Vectors:
        """Return the unit vectors at places of the index, float32 [n, F]."""
        starts = (2 * self._length * positions).tolist()
        for start in starts:  # lets the disk fetch all of them at once
            _prefetch(self._file, start, 2 * self._length)
        vectors = np.empty((len(starts), self._length), np.float16)
        for vector, start in zip(vectors, starts, strict=True):
            self._file.seek(start)
            self._file.readinto(vector.data)
        return unit(vectors.astype(np.float32))

    def search(self, queries: Numbers, k: int, without: Sequence[int | None] = ()) -> list[Nearest]:
        """Return the `k` nearest rows of each query by cosine; arguments and errors are those of `search_exactly`.

        If the bounds leave more than some thousand vectors, only the most promising ones are read, and the result is
        not `proved`.
        """
        check_queries(self._length, queries, k)
        wanted, results = unit(queries), list[Nearest]()
        at_once = max(1, _BOUNDS_BYTES // (8 * self.count))
        for start in range(0, len(wanted), at_once):
            some = wanted[start : start + at_once]
            for query, estimates, bounds in zip(some, *self._estimate(some), strict=True):
                found = self._nearest(query, estimates, bounds, min(k + 1, self.count))
                similarities = np.clip(found.similarities, -1, 1)
                results.append(replace(found, ids=self.ids(found.ids), similarities=similarities))
        return [leave_out(one, own, k) for one, own in zip(results, without or [None] * len(results), strict=True)]

    def blocks(self, rows: int) -> Iterator[slice]:
        """Yield the places of all vectors, as slices of `rows`."""
        for start in range(0, self.count, rows):
            yield slice(start, min(start + rows, self.count))

    def _estimate(self, queries: Vectors) -> tuple[Vectors, Vectors]:
        """Return the similarities within the subspace, and upper bounds of the similarities, [Q, N] each."""
        wanted = sketch(queries, self._basis)
        estimates = np.empty((len(queries), self.count), np.float32)
        bounds = np.empty_like(estimates)
        for block in self.blocks(1 << 15):
            sketches = self.sketches[block]
            estimates[:, block] = wanted[:, :-1] @ sketches[:, :-1].T
            bounds[:, block] = estimates[:, block] + wanted[:, -1:] * sketches[:, -1]
        return estimates, bounds

    def _nearest(self, query: Vectors, estimates: Vectors, bounds: Vectors, k: int) -> Nearest:
        """Return the places of the `k` nearest: read promising vectors until the bounds rule out all others."""
        chosen = _largest(estimates, np.arange(self.count), max(4 * k, _FIRST))
        best = NOTHING
        for _ in range(_ROUNDS):
            best = self._keep(best, chosen, query, k)
            bounds[chosen] = -np.inf
            still_open = np.flatnonzero(bounds >= best.similarities[-1] - MARGIN)
            if not len(still_open):
                return best
            chosen = _largest(estimates, still_open, _AT_ONCE)
        return replace(best, proved=False)

    def _keep(self, best: Nearest, positions: NDArray[np.int64], query: Vectors, k: int) -> Nearest:
        for start in range(0, len(positions), _AT_ONCE):
            some = np.sort(positions[start : start + _AT_ONCE])
            best = keep_best(best, some, self.vectors(some) @ query, k)
        return best


def _prefetch(file: FileIO, start: int, size: int) -> None:
    """Ask the system to read part of a file ahead, without waiting; a size of 0 means up to its end."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_WILLNEED)


def _largest(estimates: Vectors, places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the `count` places with the largest estimates, or all if there are fewer."""
    if len(places) <= count:
        return places
    return places[np.argpartition(-estimates[places], count - 1)[:count]]


@checked
def index_folder(features: Path) -> Path:
    """Return the folder of the features' index: beside them, with `.index` appended to their name."""
    return beside(features, ".index")


@checked
def open_index(features: Features, folder: Path | None = None) -> VectorIndex | None:
    """Open the index of the features, or the one in `folder`; return None if there is none.

    Raises:
        InputError: it is damaged, unfinished, of other features, or lacks some of their parts.

    Example:
        >>> from pnasnet.vectors import open_features, open_index
        >>> open_index(open_features("other.parquet")) is None
        True
    """
    folder = folder or index_folder(features.path)
    if not folder.exists():
        return None
    files = IndexFiles(folder, features)
    files.check_complete(features)
    return VectorIndex(files, features)
