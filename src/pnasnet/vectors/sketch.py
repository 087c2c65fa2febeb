"""Sketches: short vectors whose inner product is never below the similarity of the original vectors.

A unit vector u [F] is split into its projection p onto a subspace of few dimensions and a remainder of length r.
For two of them, by the Cauchy-Schwarz inequality,

    <u, v>  <=  <p, q> + r s  =  <(p, r), (q, s)>

so the sketches (p, r) bound every similarity from above. Vectors whose bound is too low need not be read, and no result
is lost. The smaller the remainders, the tighter the bounds: so the subspace is spanned by the principal directions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

RANK = 255
"""Dimensions of the subspace. With the length of the remainder, a sketch has 256 numbers."""

MARGIN = 1e-4
"""Rounding lowers a bound by less than this."""

_ROUNDS = 3
"""Power iterations."""

_SHORTEST, _LONGEST = 1e-10, 1e18
"""Norms between which squares neither vanish nor overflow in float32."""


def unit(vectors: NDArray[np.floating[Any]]) -> Vectors:
    """Return vectors [n, F] scaled to norm 1, float32. Vectors that are zero, or hold infinity or NaN, become zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = (lengths > _SHORTEST) & (lengths < _LONGEST)
    scaled: NDArray[np.floating[Any]] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=plain)
    if not plain.all():
        rows = np.flatnonzero(~plain)
        scaled[rows] = _unit_of_any(vectors[rows])
    return scaled.astype(np.float32, copy=False)


def _unit_of_any(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Do the same for vectors whose squares may overflow or vanish."""
    largest = np.abs(vectors.astype(np.float64)).max(1, keepdims=True)
    usable = np.isfinite(largest) & (largest > 0)
    scaled = np.divide(vectors, largest, out=np.zeros(vectors.shape), where=usable, dtype=np.float64)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    result: NDArray[np.float64] = np.divide(scaled, lengths, out=scaled, where=usable)
    return result


def principal_basis(sample: Vectors, rank: int = RANK) -> Vectors:
    """Return orthonormal rows [min(rank, F), F] that approximately span the principal directions of the sample.

    They are computed by the randomized range finder with power iterations (Halko, Martinsson and Tropp, 2011, algorithm
    4.4). The mean is not subtracted, because similarities are not relative to it.
    """
    features = sample.shape[1]
    rows = np.random.default_rng(0).standard_normal((features, min(rank, features)), np.float32)
    for _ in range(_ROUNDS):
        rows, _ = np.linalg.qr(sample.T @ (sample @ rows))
    return np.ascontiguousarray(rows.T)


def sketch(vectors: Vectors, basis: Vectors) -> Vectors:
    """Return the sketches, float32 [n, rank + 1], of unit vectors [n, F]."""
    within = vectors @ basis.T
    left = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", within, within)
    return np.column_stack([within, np.sqrt(np.maximum(left, 0))]).astype(np.float32)
