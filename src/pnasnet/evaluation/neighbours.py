"""How good features are without any classifier: do the nearest pictures have the same class?"""

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .metrics import Rate

_AT_ONCE = 500


def nearest_neighbour_accuracy(
    known: NDArray[np.float32],
    known_labels: NDArray[np.int64],
    asked: NDArray[np.float32],
    asked_labels: NDArray[np.int64],
    k: int = 20,
) -> Rate:
    """Let the `k` nearest known vectors, by cosine, vote for the class of each vector asked about.

    Of classes with equally many votes the one with the nearest vector wins.

    Args:
        known: [N, F].
        known_labels: [N].
        asked: [M, F].
        asked_labels: [M].
        k: how many vote.

    Returns:
        How many of the M votes are right.

    Raises:
        InputError: there are no `k` known vectors.
    """
    if not 1 <= k <= len(known):
        raise InputError(f"{k} neighbours of {len(known)} vectors: give a k from 1 to that number")
    known, asked = _normalized(known), _normalized(asked)
    hits = 0
    for start in range(0, len(asked), _AT_ONCE):
        likeness = asked[start : start + _AT_ONCE] @ known.T
        nearest = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(likeness, nearest, 1), axis=1, kind="stable")
        voters = known_labels[np.take_along_axis(nearest, order, 1)]
        # How many of the voters agree with each of them; the first of the most is the nearest of the winning class.
        agreeing = (voters[:, :, None] == voters[:, None, :]).sum(2)
        winners = np.take_along_axis(voters, agreeing.argmax(1)[:, None], 1)[:, 0]
        hits += int((winners == asked_labels[start : start + _AT_ONCE]).sum())
    return Rate(hits, len(asked))


def _normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit
