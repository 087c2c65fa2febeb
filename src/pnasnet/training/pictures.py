"""From labelled pictures to what a training takes its batches from; pictures that cannot be read are left out."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ..datasets import LabelledImages
from ..datasets.readable import Progress, decode_all, readable, without
from ..errors import ImageError, InputError
from ..images import transform
from ..support.system import processors
from ..support.text import gigabytes
from .batches import FromSource, InMemory, Pictures
from .memory import available_memory
from .recipe import Recipe, ShiftAndFlip

Skipped = dict[str, str]
"""Why a picture was left out, by its name."""


@dataclass(frozen=True)
class Prepared:
    """Pictures to train on or to validate with.

    Attributes:
        pictures: those that can be read.
        skipped: the others.
        sha256: of the names and classes of all of them, in order; tells one set of pictures from another.
        count: how many there are, those that were left out among them.
    """

    pictures: Pictures
    skipped: Skipped
    sha256: str
    count: int

    def to_dict(self) -> dict[str, Any]:
        """Return what a training's folder keeps."""
        return {"pictures": self.count, "sha256": self.sha256, "skipped": self.skipped}


def prepare(
    recipe: Recipe,
    data: LabelledImages,
    *,
    augmented: bool,
    preset: str = "hub",
    known: dict[str, Any] | None = None,
    progress: bool = True,
    check: Callable[[], None] = lambda: None,
) -> Prepared:
    """Return the source that a recipe's augmentation asks for, without the pictures that cannot be read.

    Small pictures are decoded into memory. Of the others each is decoded once, to see that it can be.

    Args:
        recipe: its augmentation and image size.
        data: the pictures.
        augmented: whether to change them at random.
        preset: the preprocessing.
        known: what `to_dict` returned in an earlier run; spares the second kind the check if it was of the same.
        progress: whether to show a progress bar, on standard error.
        check: called after each picture that is decoded; what it raises ends the work.

    Raises:
        InputError: a class has lost all its pictures, or decoded they do not fit the memory.
    """
    listed = [list(map(str, data.names)), data.labels.tolist(), data.classes]
    sha256 = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    with _bar(len(data), progress, check) as update:
        if isinstance(recipe.augmentation, ShiftAndFlip):
            images, good, skipped = decode_into_memory(data, recipe.spec.image_size, preset, progress=update)
            source: Pictures = InMemory(images, good.labels, recipe.augmentation if augmented else None)
        else:
            if known and known["sha256"] == sha256:
                skipped = known["skipped"]
                good = without(data, {i: skipped[name] for i, name in enumerate(data.names) if name in skipped})
            else:
                good, skipped = readable(data, preset=preset, threads=processors(), progress=update)
            source = FromSource(good, recipe.augmentation if augmented else None, preset)
    return Prepared(source, skipped, sha256, len(data))


def decode_into_memory(
    data: LabelledImages, size: tuple[int, int], preset: str = "hub", *, progress: Progress = lambda pictures: None
) -> tuple[Tensor, LabelledImages, Skipped]:
    """Decode all pictures, and bring them to `size`, height and width, by the preset.

    Returns:
        uint8 [N, height, width, 3]; the pictures they are of; why the others could not be read, by name.

    Raises:
        InputError: a class has lost all its pictures, or the memory is too little for them.
    """
    needed, free = len(data) * size[0] * size[1] * 3, available_memory(torch.device("cpu"))
    if free is not None and needed > free:
        raise InputError(
            f"{len(data):,} pictures of {size[0]}x{size[1]} take {gigabytes(needed)} of memory, {gigabytes(free)} are "
            "free: train on fewer, or by a recipe with CropAndFlip, which decodes pictures as they are needed"
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
        progress(1)
    return images[:good], without(data, failures), {str(data.names[i]): reason for i, reason in failures.items()}


@contextmanager
def _bar(total: int, shown: bool, check: Callable[[], None]) -> Iterator[Progress]:
    """Show how far the decoding is, where standard error is a terminal, and only if it takes a while."""
    hidden = not (shown and sys.stderr.isatty())
    with tqdm(total=total, desc="decoding", unit="picture", disable=hidden, delay=1, leave=False) as bar:

        def update(pictures: int) -> None:
            bar.update(pictures)
            check()

        yield update
