"""Turns labelled images into a source of batches, without the images that cannot be read."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..datasets import LabelledImages
from ..datasets.readable import decode_all, readable, without
from ..errors import ImageError, OutOfMemoryError
from ..images import transform
from ..support.progress import Progress, counter, silent
from ..support.system import processors
from ..support.text import gigabytes
from .batches import Examples, FromSource, InMemory
from .memory import available_memory
from .recipe import Recipe, ShiftAndFlip

Skipped = dict[str, str]
"""Names of unreadable images, with the reasons."""


@dataclass(frozen=True)
class PreparedSet:
    """Images to train on or to validate with.

    Attributes:
        pictures: the images that can be read.
        skipped: the others.
        sha256: SHA-256 of the names and classes of all images, in order. It identifies the set.
        count: number of images, including those left out.
    """

    pictures: Examples
    skipped: Skipped
    sha256: str
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Return the record that a training's folder keeps."""
        return {"pictures": self.count, "sha256": self.sha256, "skipped": self.skipped}


def prepare(
    recipe: Recipe,
    data: LabelledImages,
    *,
    augmented: bool,
    preset: str = "hub",
    known: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> PreparedSet:
    """Return the source of batches for a recipe's augmentation, without the images that cannot be read.

    For `ShiftAndFlip`, images are decoded into memory. Otherwise each is decoded once to find the unreadable ones.

    Args:
        recipe: its augmentation and image size.
        data: the images.
        augmented: whether to change them at random.
        preset: the preprocessing.
        known: `to_dict()` of an earlier run. The same images are not checked again.
        progress: receives the number of decoded images. Exceptions from it end the work.

    Raises:
        InputError: a class has lost all its images.
        OutOfMemoryError: the decoded images do not fit the memory.
    """
    listed = [list(map(str, data.names)), data.labels.tolist(), data.classes]
    sha256 = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    advance = counter(progress, "decoding", len(data))
    if isinstance(recipe.augmentation, ShiftAndFlip):
        images, good, skipped = decode_into_memory(data, recipe.spec.image_size, preset, advance=advance)
        source: Examples = InMemory(images, good.labels, recipe.augmentation if augmented else None)
    else:
        if known and known["sha256"] == sha256:
            skipped = known["skipped"]
            good = without(data, {i: skipped[name] for i, name in enumerate(data.names) if name in skipped})
        else:
            good, skipped = readable(data, preset=preset, threads=processors(), advance=advance)
        source = FromSource(good, recipe.augmentation if augmented else None, preset)
    return PreparedSet(source, skipped, sha256, len(data))


def decode_into_memory(
    data: LabelledImages,
    size: tuple[int, int],
    preset: str = "hub",
    *,
    advance: Callable[[int], object] = lambda pictures: None,
) -> tuple[Tensor, LabelledImages, Skipped]:
    """Decode all images, and resize them to `size`, height and width, as the preset does. `advance` counts them.

    Returns:
        uint8 [N, height, width, 3]; the readable images; the names of the others, and why they cannot be read.

    Raises:
        InputError: a class has lost all its images.
        OutOfMemoryError: the decoded images do not fit the memory.
    """
    needed, free = len(data) * size[0] * size[1] * 3, available_memory(torch.device("cpu"))
    if free is not None and needed > free:
        raise OutOfMemoryError(
            f"{len(data):,} images of {size[0]}x{size[1]} need {gigabytes(needed)} of memory, {gigabytes(free)} are "
            "free: train on fewer, or use a recipe with CropAndFlip, which decodes images when they are needed"
        )

    def to_size(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.rint(transform(pixels, size, preset) * 255).astype(np.uint8)

    images = torch.empty((len(data), *size, 3), dtype=torch.uint8)
    failures: dict[int, str] = {}
    good = 0
    for index, outcome in enumerate(decode_all(data, to_size, preset=preset, threads=processors())):
        if isinstance(outcome, ImageError):
            failures[index] = str(outcome)
        else:
            images[good] = torch.from_numpy(outcome)
            good += 1
        advance(1)
    return images[:good], without(data, failures), {str(data.names[i]): reason for i, reason in failures.items()}
