"""What the tests of the train room share: a tiny network's recipe, and images that it can learn."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.datasets import LabelledImages
from pnasnet.training.batches import InMemory
from pnasnet.training.machine import Machine
from pnasnet.training.recipe import Cosine, Recipe, ShiftAndFlip

CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 0, "avg3", 1)])
SPEC = NetworkSpec(
    CELL, 2, 4, (16, 16), 2, stem="cifar", stem_multiplier=1.0, reductions=1, drop_path_keep=0.8, aux_head=False
)
RECIPE = Recipe(
    SPEC,
    stages=((8, 1), (16, 2)),
    batch_size=8,
    schedule=Cosine(peak=0.05, warm_up=0.15),
    average_decay=0.8,
    batch_norm_momentum=0.8,
    clip_norm=5.0,
)
MACHINE = Machine(accelerator="cpu")


def stripes(count: int = 64) -> tuple[Tensor, Any]:
    """Return images [count, 16, 16, 3] of horizontal (0) and vertical (1) stripes, and their labels."""
    labels = np.arange(count) % 2
    rows = (torch.arange(16) // 4 % 2 * 255).to(torch.uint8)
    two = torch.stack([rows[:, None].expand(16, 16), rows.expand(16, 16)])
    return two[torch.from_numpy(labels)][..., None].expand(-1, -1, -1, 3).contiguous(), labels


def training_pictures(count: int = 64) -> InMemory:
    return InMemory(*stripes(count), ShiftAndFlip(shift=2))


def validation_pictures(count: int = 16) -> InMemory:
    return InMemory(*stripes(count), None)


def encoded(count: int = 64, bad: tuple[int, ...] = ()) -> LabelledImages:
    """Return the same as PNG files in memory; those at `bad` are none."""
    images, labels = stripes(count)
    contents = [b"no image" if i in bad else to_png(images[i]) for i in range(count)]
    return LabelledImages([f"{i}.png" for i in range(count)], labels, ("lying", "standing"), contents.__getitem__)


def to_png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, count: int = 32, names: tuple[str, ...] = ("lying", "standing")) -> Path:
    """Write the images of `stripes` as PNG files, in a folder for each name."""
    images, labels = stripes(count)
    for index in range(count):
        path = root / names[labels[index]] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_png(images[index]))
    return root
