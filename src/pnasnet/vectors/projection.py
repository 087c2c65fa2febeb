"""Computes maps of vectors: two coordinates, and the nearest neighbours, of each vector."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, UnknownNameError
from ..support.arguments import checked
from ..support.progress import Progress, counter, silent
from .index import VectorIndex
from .sketch import Vectors, principal_basis

Projection = Literal["pca", "umap"]
PROJECTIONS: tuple[Projection, ...] = ("pca", "umap")

_ROWS, _COLUMNS = 512, 16384
"""Shape of the float32 similarities in memory at a time: 32 MiB."""
_MIN_DISTANCE = 0.5
"""UMAP's minimum distance between points. Thumbnails need more room than its default of 0.1."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of M vectors: their places among these M, int64 [M, k], and cosine distances in [0, 2]."""

    places: NDArray[np.int64]
    distances: Vectors


@checked
def choose_projection(name: str | None) -> Projection:
    """Return the projection of that name; by default UMAP if it is installed, else principal components.

    Raises:
        UnknownNameError: there is no such projection.
        MissingExtraError: UMAP is not installed.
    """
    installed = find_spec("umap") is not None
    if name is None:
        return "umap" if installed else "pca"
    if name not in PROJECTIONS:
        raise UnknownNameError.of("projection", name, PROJECTIONS)
    if name == "umap" and not installed:
        raise MissingExtraError.of("umap-learn", "maps", "the projection umap")
    return "umap" if name == "umap" else "pca"


def feasible(projection: Projection, neighbours: Neighbours) -> Projection:
    """Return `projection`; `pca` instead of `umap` if there are too few vectors for it."""
    count, k = neighbours.places.shape
    return projection if count > k + 2 else "pca"


def project(
    index: VectorIndex, positions: NDArray[np.int64], neighbours: Neighbours, projection: Projection
) -> Vectors:
    """Return coordinates, float32 [M, 2], of vectors at places of an index. The longer axis spans [0, 1]."""
    within = index.sketches[positions, :-1]
    if projection == "umap":
        points = _umap(within, neighbours)
    else:
        centred = within - within.mean(0)
        points = centred @ principal_basis(centred, 2).T
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    low = points.min(0)
    scaled: Vectors = ((points - low) / max(float((points.max(0) - low).max()), 1e-12)).astype(np.float32)
    return scaled


def nearest_of_all(
    index: VectorIndex,
    positions: NDArray[np.int64],
    k: int,
    *,
    progress: Progress = silent,
) -> Neighbours:
    """Return the `k` nearest neighbours of each of M vectors among these M; fewer if M is small.

    They are chosen approximately, by the sketches; their distances are exact. Time grows with the square of M.
    `progress` receives the vectors done in the stage `neighbours`.
    """
    within = np.ascontiguousarray(index.sketches[positions, :-1])
    count = len(positions)
    k = min(k, count - 1)
    places, distances = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
    advance = counter(progress, "neighbours", count)
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        chosen = _nearest(within, rows, min(2 * k, count - 1))
        for row, some in zip(rows.tolist(), chosen, strict=True):
            vectors = index.vectors(positions[np.append(row, some)])
            similarities = vectors[1:] @ vectors[0]
            order = np.argsort(-similarities, kind="stable")[:k]
            places[row], distances[row] = some[order], np.clip(1 - similarities[order], 0, 2)
        advance(len(rows))
    return Neighbours(places, distances)


def _nearest(within: Vectors, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the places of the `k` largest inner products of each row with the others, computed in blocks."""
    best = np.full((len(rows), k), -np.inf, np.float32)
    places = np.zeros((len(rows), k), np.int64)
    for start in range(0, len(within), _COLUMNS):
        columns = np.arange(start, min(start + _COLUMNS, len(within)))
        products = within[rows] @ within[columns].T
        products[rows[:, None] == columns] = -np.inf
        products = np.concatenate([best, products], axis=1)
        known = np.concatenate([places, np.broadcast_to(columns, (len(rows), len(columns)))], axis=1)
        chosen = np.argpartition(-products, k - 1, axis=1)[:, :k] if k < products.shape[1] else np.argsort(-products)
        best, places = np.take_along_axis(products, chosen, 1), np.take_along_axis(known, chosen, 1)
    return places


def _umap(within: Vectors, neighbours: Neighbours) -> Vectors:
    import warnings

    from umap import UMAP

    count = len(within)
    # UMAP counts each vector as its own nearest neighbour.
    places = np.column_stack([np.arange(count), neighbours.places]).astype(np.int32)
    distances = np.column_stack([np.zeros(count, np.float32), neighbours.distances])
    with warnings.catch_warnings():
        # UMAP warns that a seed implies a single thread, and that no points can be added later.
        warnings.simplefilter("ignore")
        model = UMAP(
            n_neighbors=places.shape[1], min_dist=_MIN_DISTANCE, metric="cosine", random_state=0,
            precomputed_knn=(places, distances, None),
        )  # fmt: skip
        points: Vectors = model.fit_transform(within)
    return points
