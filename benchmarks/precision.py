"""Fidelity and speed of float32, bfloat16 and int8 with trained weights, on labelled images.

Command:  python benchmarks/precision.py MODEL DATA [--split NAME] [--int8 FOLDER] [--limit N] [--batches 1 8 64]
          DATA is anything that `pnasnet evaluate` accepts; FOLDER is the output of `pnasnet quantize MODEL PHOTOS -o
          FOLDER` for photos that are not in DATA.
Needs:    a CPU with bfloat16 and VNNI, for the speeds; the fidelity does not depend on it.
Result:   cosine of each precision's features to float32's (mean, 1st percentile, minimum), top-1, and for each batch
          size the milliseconds per image with the ratio to float32, medians of runs in turn. See docs/engines.md.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.datasets import LabelledImages, open_dataset
from pnasnet.engines import EngineOptions
from pnasnet.errors import ImageError
from pnasnet.evaluation.match import match_classes
from pnasnet.images import preprocess
from pnasnet.quantize import compare

from common import in_turn, machine

OUTPUTS = ("global_pool", "Logits")
BLOCK = 64
BASE = "float32"


@dataclass
class Outputs:
    """The outputs of one precision for all images."""

    features: list[NDArray[np.float32]] = field(default_factory=list)
    logits: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, module: Module, images: NDArray[np.float32]) -> None:
        """Run a block of images."""
        found = module.run(images, OUTPUTS)
        self.features.append(found["global_pool"])
        self.logits.append(found["Logits"])

    def whole(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the features and the logits of all images."""
        return np.concatenate(self.features), np.concatenate(self.logits)


def read(data: LabelledImages, module: Module) -> Iterator[tuple[NDArray[np.float32], list[int]]]:
    """Yield blocks of readable images with their labels."""
    images, labels = [], []
    for index in range(len(data)):
        try:
            images.append(preprocess(data.read(index), module.image_size, module.preset))
            labels.append(int(data.labels[index]))
        except ImageError as error:
            print(f"skipped {data.names[index]}: {error}")
        if images and (len(images) == BLOCK or index == len(data) - 1):
            yield np.stack(images), labels
            images, labels = [], []


def modules(model: str, int8: str | None, threads: int | None) -> dict[str, Module]:
    """Return the model in each precision."""
    found = {
        precision: Module(model, engine=EngineOptions("openvino", precision, threads))
        for precision in (BASE, "bfloat16")
    }
    return found | ({"int8": Module(int8, engine=EngineOptions("openvino", threads=threads))} if int8 else {})


def print_fidelity(ways: dict[str, Module], data: LabelledImages) -> None:
    """Run all images in each precision; print the similarity of the features, and the accuracy."""
    base = ways[BASE]
    logits_of = match_classes(data.classes, base.model.spec.num_classes or 0, base.labels).logits
    outputs = {name: Outputs() for name in ways}
    labels: list[int] = []
    for images, some in read(data, base):
        labels += some
        for name, module in ways.items():
            outputs[name].add(module, images)
    reference, reference_logits = outputs[BASE].whole()
    wanted = logits_of[np.array(labels)]
    print(f"{len(labels):,} images")
    print(f"{'precision':10} {'mean cosine':>12} {'1st percentile':>15} {'least':>8} {'same class':>11} {'top-1':>8}")
    for name, output in outputs.items():
        features, logits = output.whole()
        near = compare(features, reference, logits, reference_logits)
        top1 = float((logits.argmax(axis=1) == wanted).mean())
        print(
            f"{name:10} {near.mean_cosine:12.5f} {near.low_cosine:15.4f} {near.least_cosine:8.4f} "
            f"{near.same_top1 or 0:11.2%} {top1:8.2%}",
            flush=True,
        )


def print_speed(ways: dict[str, Module], batch: int, rounds: int) -> None:
    """Time the features in each precision, in turn; print milliseconds per image and the ratio to float32."""
    images = np.random.default_rng(0).random((batch, *ways[BASE].image_size, 3), np.float32)
    runs = {name: lambda x, module=module: module.run(x, OUTPUTS[:1]) for name, module in ways.items()}
    seconds = in_turn(runs, images, rounds)
    for name, value in seconds.items():
        print(f"batch {batch:3}  {name:10} {1000 * value:9.3f} ms/image {seconds[BASE] / value:6.2f} x", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--split")
    parser.add_argument("--int8")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    data = open_dataset(options.data, split=options.split)
    if options.limit and options.limit < len(data):
        data = data.take([index * len(data) // options.limit for index in range(options.limit)])
    ways = modules(options.model, options.int8, options.threads)
    print(f"{options.model}, {machine()}; {ways[BASE].engine.description}")
    print_fidelity(ways, data)
    for batch in options.batches:
        print_speed(ways, batch, options.rounds)


if __name__ == "__main__":
    main()
