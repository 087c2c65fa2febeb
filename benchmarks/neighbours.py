"""Top-1 accuracy of nearest neighbours by a model's features, which measures the features without any training.

Command:  python benchmarks/neighbours.py TRAIN TEST [--model pnasnet_tiny] [-k 20]
Method:   TRAIN and TEST are anything that `pnasnet evaluate` accepts. The k nearest training images by cosine vote for
          the class of each test image; see `nearest_neighbour_accuracy`.
Result:   for pnasnet_tiny on CIFAR-10 see its card, src/pnasnet/data/pnasnet_tiny.md.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.datasets import open_dataset
from pnasnet.errors import InputError
from pnasnet.evaluation import Rate
from pnasnet.extract import ExtractOptions
from pnasnet.extract.embed import extract_labelled

_AT_ONCE = 500


def features_and_labels(module: Module, data: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the features [N, F] of labelled images, and their labels [N]."""
    images = open_dataset(data)
    batches = list(extract_labelled(module, images, "global_pool", ExtractOptions(batch_size=64)))
    usable = np.array([row.error is None for batch in batches for row in batch.rows])
    return np.concatenate([batch.vectors for batch in batches]), images.labels[usable]


def nearest_neighbour_accuracy(
    known: NDArray[np.float32],
    known_labels: NDArray[np.int64],
    asked: NDArray[np.float32],
    asked_labels: NDArray[np.int64],
    k: int = 20,
) -> Rate:
    """Let the `k` nearest known vectors, by cosine, vote for the class of each vector asked about.

    Among classes with equal votes, the one with the nearest vector wins.

    Args:
        known: [N, F].
        known_labels: [N].
        asked: [M, F].
        asked_labels: [M].
        k: number of votes.

    Returns:
        The share of the M vectors whose class is right.

    Raises:
        InputError: `k` is not from 1 to N.
    """
    if not 1 <= k <= len(known):
        raise InputError(f"{k} neighbours of {len(known)} vectors: use a k from 1 to that number")
    known, asked = _normalized(known), _normalized(asked)
    hits = 0
    for start in range(0, len(asked), _AT_ONCE):
        likeness = asked[start : start + _AT_ONCE] @ known.T
        nearest = np.argpartition(-likeness, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(likeness, nearest, 1), axis=1, kind="stable")
        voters = known_labels[np.take_along_axis(nearest, order, 1)]
        # The number of voters that agree with each voter; the first maximum is the nearest of the winning class.
        agreeing = (voters[:, :, None] == voters[:, None, :]).sum(2)
        winners = np.take_along_axis(voters, agreeing.argmax(1)[:, None], 1)[:, 0]
        hits += int((winners == asked_labels[start : start + _AT_ONCE]).sum())
    return Rate(hits, len(asked))


def _normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def main() -> None:
    """Extract the features, vote, and print the accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("-k", type=int, default=20)
    options = parser.parse_args()
    module = Module(options.model)
    known, asked = (features_and_labels(module, data) for data in (options.train, options.test))
    found = nearest_neighbour_accuracy(*known, *asked, options.k)
    print(f"{options.model}: {found.value:.2%} of {found.count:,} by {options.k} neighbours among {len(known[0]):,}")


if __name__ == "__main__":
    main()
