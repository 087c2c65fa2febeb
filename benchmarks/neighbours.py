"""Top-1 of the nearest neighbours by a model's features: how good these are without any training.

Command:  python benchmarks/neighbours.py TRAIN TEST [--model pnasnet_tiny] [-k 20]
Method:   `TRAIN` and `TEST` are labelled images, as `pnasnet evaluate` takes them. Each test image gets the class that
          its k nearest training images vote for by cosine, see `nearest_neighbour_accuracy`.
Result:   for pnasnet_tiny on CIFAR-10 see its card, src/pnasnet/data/pnasnet_tiny.md.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.datasets import open_dataset
from pnasnet.evaluation.neighbours import nearest_neighbour_accuracy
from pnasnet.extract import ExtractOptions, extract_labelled


def features_and_labels(module: Module, data: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the features [N, F] of labelled images, and their labels [N]."""
    images = open_dataset(data)
    batches = list(extract_labelled(module, images, "global_pool", ExtractOptions(batch_size=64)))
    usable = np.array([row.error is None for batch in batches for row in batch.rows])
    return np.concatenate([batch.vectors for batch in batches]), images.labels[usable]


def main() -> None:
    """Extract, vote and print."""
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
