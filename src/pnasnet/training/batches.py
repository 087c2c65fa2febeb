"""Batches of an epoch. Their order and their random changes depend only on seed, epoch and position.

An interrupted and resumed run therefore sees the same batches as an uninterrupted one, and so do several devices
together, each with its share of every batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets import LabelledImages
from ..datasets.readable import decode_picture
from ..errors import ImageError, InputError
from ..images import transform
from .augment import Moves, crop_and_flip
from .machine import check_shares
from .recipe import CropAndFlip, Recipe, ShiftAndFlip

TrainingBatch = tuple[Tensor, Tensor]
"""Images [B, height, width, 3] float32 in [0, 1], labels [B] int64; images labelled -1 are not counted."""

Ints = NDArray[np.int64]


class Examples(Protocol):
    """A source of batches, augmented or not."""

    @property
    def labels(self) -> Ints:
        """The labels of all images, [N] int64."""
        ...

    @property
    def decoded(self) -> bool:
        """Whether the images are in memory, so that no processes need to decode them."""
        ...

    def batch(self, indices: Ints, size: int, seed: Sequence[int], share: slice = slice(None)) -> TrainingBatch:
        """Return one device's `share` of the batch of the images at `indices`.

        Random changes depend on `seed`, `indices` and the position in the whole batch, not on the share. Raises
        `ImageError` if an image cannot be read.
        """
        ...


@dataclass(frozen=True)
class InMemory:
    """Images in memory, decoded once: uint8 [N, height, width, 3]."""

    images: Tensor
    labels: Ints
    augmentation: ShiftAndFlip | None
    decoded: bool = True

    def batch(self, indices: Ints, size: int, seed: Sequence[int], share: slice = slice(None)) -> TrainingBatch:
        """Return a batch; without augmentation, at the images' own size."""
        own = indices[share]
        images, labels = self.images[torch.from_numpy(own)], torch.from_numpy(self.labels[own])
        if self.augmentation is None:
            return images.float() / 255, labels
        generator = torch.Generator().manual_seed(seed_of(*seed))
        moves = Moves.draw(len(indices), self.images.shape[1:3], self.augmentation, generator)
        return moves.take(share).apply(images, size), labels


@dataclass(frozen=True)
class FromSource:
    """Images that are decoded each time they are needed."""

    data: LabelledImages
    augmentation: CropAndFlip | None
    preset: str = "hub"
    decoded: bool = False

    @property
    def labels(self) -> Ints:
        """The labels, [N] int64."""
        return self.data.labels

    def batch(self, indices: Ints, size: int, seed: Sequence[int], share: slice = slice(None)) -> TrainingBatch:
        """Return a batch."""
        images = [self._load(int(index), size, seed) for index in indices[share]]
        return torch.from_numpy(np.stack(images)), torch.from_numpy(self.data.labels[indices[share]])

    def _load(self, index: int, size: int, seed: Sequence[int]) -> NDArray[np.float32]:
        pixels = decode_picture(self.data, index, self.preset)
        if self.augmentation is None:
            return transform(pixels, (size, size), self.preset)
        return crop_and_flip(pixels, size, self.augmentation, np.random.default_rng([*seed, index]))


@dataclass(frozen=True)
class _Epoch(Dataset[Any]):
    """An epoch of one device: item `i` is a part of its share of a batch, or the error that occurred instead."""

    pictures: Examples
    batches: list[Ints]
    shares: list[slice]
    """The parts of a batch that the device computes, in order."""
    size: int
    seed: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.batches) * len(self.shares)

    def __getitem__(self, item: int) -> TrainingBatch | Exception:
        index, part = divmod(item, len(self.shares))
        count, indices = len(self.pictures.labels), self.batches[index]
        try:
            images, labels = self.pictures.batch(indices % count, self.size, (*self.seed, index), self.shares[part])
        except ImageError as error:
            # If raised in a worker process, its message would contain a traceback. `RecipeData` raises it.
            return error
        labels[torch.from_numpy(indices[self.shares[part]] >= count)] = -1
        return images, labels


def steps_per_epoch(recipe: Recipe, count: int) -> int:
    """Return the number of whole batches of `count` images. Each epoch leaves out a random remainder.

    Raises `InputError` if there are fewer images than a batch.
    """
    if count < recipe.batch_size:
        raise InputError(
            f"{count} images do not fill a batch of {recipe.batch_size}: add images, or use a smaller batch size"
        )
    return count // recipe.batch_size


def epoch_loader(
    recipe: Recipe,
    pictures: Examples,
    epoch: int,
    *,
    rank: int = 0,
    devices: int = 1,
    parts: int = 1,
    **options: Any,
) -> DataLoader[Any]:
    """Return the batches of an epoch for one of several devices.

    Args:
        recipe: the batch size, the seed and the image size of each epoch.
        pictures: the source of the images.
        epoch: number of the epoch, from 0.
        rank: number of the device, from 0.
        devices: number of devices that share each batch.
        parts: number of parts in which a device computes its share.
        options: options of `DataLoader`, such as `num_workers`.

    Returns:
        A loader of `TrainingBatch`, or of the `ImageError` that occurred in its place.

    Raises:
        InputError: there are fewer images than a batch; or a batch cannot be shared evenly, two images or more to each
            part.
    """
    shares = devices * parts
    check_shares(recipe.batch_size, devices, parts, freeze_batch_norm=recipe.freeze_batch_norm)
    order = np.random.default_rng([recipe.seed, epoch]).permutation(len(pictures.labels))
    size, steps = recipe.batch_size, steps_per_epoch(recipe, len(order))
    batches = [order[i * size : (i + 1) * size] for i in range(steps)]
    own = [slice(rank * parts + part, None, shares) for part in range(parts)]
    items = _Epoch(pictures, batches, own, recipe.sizes[epoch], (recipe.seed, epoch))
    return DataLoader(items, batch_size=None, **options)


def evaluation_loader(
    recipe: Recipe, pictures: Examples, *, rank: int = 0, devices: int = 1, parts: int = 1, **options: Any
) -> DataLoader[Any]:
    """Return all images once, in order and at the image size of the recipe's network, for one of several devices.

    Devices wait for each other, so all get the same number of batches of the same sizes. Images that pad the last
    batches are labelled -1.
    """
    share = max(recipe.batch_size // (devices * parts), 1)
    padded = np.arange(-(-len(pictures.labels) // devices) * devices)
    batches = [padded[i : i + share * devices] for i in range(0, len(padded), share * devices)]
    items = _Epoch(pictures, batches, [slice(rank, None, devices)], recipe.spec.image_size[0], (recipe.seed,))
    return DataLoader(items, batch_size=None, **options)


def seed_of(*numbers: int) -> int:
    """Return a 63-bit seed that depends on all numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
