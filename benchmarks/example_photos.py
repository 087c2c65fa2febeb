"""Accuracy of a model on the example photos, and how often the nearest photo shows the same kind of thing.

Command:  python benchmarks/example_photos.py [--model pnasnet_small]
Method:   examples/CREDITS.csv names the class of each photo that shows one of Tiny ImageNet's 200 classes. The kind of
          a photo is its folder; the photos in `other` are searched as well, but are not used as queries.
Result:   see the card of pnasnet_small, src/pnasnet/data/pnasnet_small.md.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pnasnet import Module

EXAMPLES = Path(__file__).parents[1] / "examples"
MIXED = "other"


def ranks(module: Module, photos: list[Path], classes: list[str]) -> list[int]:
    """Return the rank of each photo's class among all classes of the model, from 0."""
    every = len(module.labels or ())
    answers = module.classify(photos, top=every)
    return [[name for name, _ in answer].index(own) for answer, own in zip(answers, classes, strict=True)]


def same_kind(vectors: NDArray[np.float32], kinds: list[str]) -> list[bool]:
    """Return, for each vector [N, F] except mixed ones, whether the nearest other one by cosine is of its kind."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    nearest = likeness.argmax(axis=1)
    return [kinds[near] == kind for near, kind in zip(nearest, kinds, strict=True) if kind != MIXED]


def chance(kinds: list[str]) -> float:
    """Return the expected share of `same_kind` if neighbours were drawn at random."""
    shares = [(kinds.count(kind) - 1) / (len(kinds) - 1) for kind in kinds if kind != MIXED]
    return sum(shares) / len(shares)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_small")
    module = Module(parser.parse_args().model)
    with (EXAMPLES / "CREDITS.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    photos, kinds = [EXAMPLES / "photos" / row["photo"] for row in rows], [row["photo"].split("/")[0] for row in rows]
    found = same_kind(module.embed(photos), kinds)
    shares = f"{np.mean(found):.0%}; chance {chance(kinds):.0%}"
    print(f"nearest photo of the same kind: {sum(found)} of {len(found)} ({shares})")
    known = {row["photo"]: row["class"] for row in rows if row["class"] in (module.labels or ())}
    if not known:
        return
    places = ranks(module, [EXAMPLES / "photos" / name for name in known], list(known.values()))
    for top in (1, 5):
        print(f"class among the first {top}: {sum(place < top for place in places)} of {len(places)}")
    for (name, own), place in zip(known.items(), places, strict=True):
        print(f"{place + 1:>4}  {own}: {name}")


if __name__ == "__main__":
    main()
