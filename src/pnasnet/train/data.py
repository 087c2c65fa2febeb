"""Labelled images in memory, read from Parquet as Hugging Face writes it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..errors import InputError


@dataclass(frozen=True)
class Dataset:
    """Images [N, height, width, 3] uint8 and their labels [N] int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)


def read_parquet(path: Path) -> Dataset:
    """Read a Parquet file with an `image` struct (`bytes`, `path`) and a `label`; all images of one size.

    Raises `InputError` where the file has other columns, or images of several sizes.
    """
    try:
        table = pq.read_table(path, columns=["image", "label"])
        encoded = table.column("image").combine_chunks().field("bytes").to_pylist()
    except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a Parquet file with an image struct and a label: {error}") from error
    images = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded]
    if len({image.shape for image in images}) != 1:
        raise InputError(f"{path} needs images of one size, and at least one; resize them first")
    labels = torch.tensor(table.column("label").to_pylist(), dtype=torch.int64)
    return Dataset(torch.from_numpy(np.stack(images)), labels)


def batches(data: Dataset, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of whole batches in random order: images [B, height, width, 3] uint8, and labels."""
    order = torch.randperm(len(data), generator=generator)
    for start in range(0, len(data) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        yield data.images[chosen], data.labels[chosen]


def augment(images: Tensor, size: int, generator: torch.Generator, *, shift: int = 4) -> Tensor:
    """Flip and shift each image at random, then bring all to `size`.

    Args:
        images: [B, height, width, 3] uint8.
        size: height and width of the result; smaller images make the early part of a training faster.
        generator: source of all randomness.
        shift: by up to how many pixels an image moves; what moves in is its mirror image.

    Returns:
        [B, size, size, 3] float32 in [0, 1], lying in memory as channels last.

    """
    count, height, width, _ = images.shape
    flipped = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flipped[:, None, None, None], images.flip(2), images)
    padded = functional.pad(images.permute(0, 3, 1, 2).float() / 255, (shift,) * 4, mode="reflect").permute(0, 2, 3, 1)
    rows, columns = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows, columns = rows + torch.arange(height), columns + torch.arange(width)
    moved = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved if size == height == width else _resize(moved, size)


def _resize(images: Tensor, size: int) -> Tensor:
    smaller = functional.interpolate(images.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=True)
    return smaller.permute(0, 2, 3, 1)
