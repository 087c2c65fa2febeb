"""What the tests of the evaluation share: networks whose answers are known, and pictures of one colour."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.datasets import LabelledImages

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
"""To the fake engine, whose logits are the mean colours over and over: logit 0, 1 or 2 first, then 3, 4 or 5, ..."""


def small_network(classes: int, engine: str = "fake", seed: int = 0) -> Module:
    """Return a 32x32 network with random weights."""
    spec = replace(find("pnasnet_tiny").spec, num_classes=classes)
    random = np.random.default_rng(seed)
    shapes = resolve(spec).variables()
    weights = {name: np.abs(random.normal(0, 0.1, shape)).astype(np.float32) for name, shape in shapes.items()}
    return Module(spec, weights, engine=engine)


def png(colour: tuple[int, int, int], size: int = 32) -> bytes:
    """Return a picture of one colour."""
    out = BytesIO()
    Image.new("RGB", (size, size), colour).save(out, "PNG")
    return out.getvalue()


def pictures(contents: Sequence[bytes], labels: Sequence[int], classes: Sequence[str]) -> LabelledImages:
    """Return pictures in memory, called `shard.tar/0.png` and so on."""
    names = [f"shard.tar/{index}.png" for index in range(len(contents))]
    return LabelledImages(names, np.array(labels, np.int64), tuple(classes), lambda index: contents[index])


def write_folder(root: Path, classes: dict[str, Sequence[bytes]]) -> Path:
    """Write a folder for each class."""
    for name, contents in classes.items():
        (root / name).mkdir(parents=True)
        for index, content in enumerate(contents):
            (root / name / f"{index}.png").write_bytes(content)
    return root
