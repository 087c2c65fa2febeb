"""Sketches: short vectors whose inner product is never below the similarity of the vectors that they stand for.

A unit vector u [F] is split into its part within a subspace of few dimensions, p, and what is left of it, of length r.
For two of them, by the inequality of Cauchy and Schwarz,

    <u, v>  <=  <p, q> + r s  =  <(p, r), (q, s)>

so that the sketches (p, r) bound every similarity from above. Vectors whose bound is too low need not be looked at,
and nothing is lost. The better the subspace holds the vectors, the tighter is the bound: principal directions are best.
"""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

RANK = 255
"""Dimensions of the subspace; with what is left, 256 numbers a sketch."""

MARGIN = 1e-4
"""How far rounding may put a bound below the similarity that it bounds, and more."""

_ROUNDS = 3


def unit(vectors: Vectors) -> Vectors:
    """Return the vectors [n, F] with length 1; those that have no direction, or numbers that are none, become zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths) & (lengths > 0)
    scaled: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=usable)
    return scaled


def principal_basis(sample: Vectors, rank: int = RANK) -> Vectors:
    """Return orthonormal rows [min(rank, F), F] that span about the principal directions of the sample.

    By the randomized range finder with power iterations (Halko, Martinsson and Tropp, 2011, algorithm 4.4). The mean is
    not taken away: similarities are those of the vectors themselves.
    """
    features = sample.shape[1]
    rows = np.random.default_rng(0).standard_normal((features, min(rank, features)), np.float32)
    for _ in range(_ROUNDS):
        rows, _ = np.linalg.qr(sample.T @ (sample @ rows))
    return np.ascontiguousarray(rows.T)


def sketch(vectors: Vectors, basis: Vectors) -> Vectors:
    """Return the sketches [n, rank + 1] of unit vectors [n, F]."""
    within = vectors @ basis.T
    left = np.einsum("ij,ij->i", vectors, vectors) - np.einsum("ij,ij->i", within, within)
    return np.column_stack([within, np.sqrt(np.maximum(left, 0))]).astype(np.float32)
