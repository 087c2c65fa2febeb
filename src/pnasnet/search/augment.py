"""The paper's augmentation of children's images, as batches for the training loop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..training.batches import TrainingBatch, seed_of


def enlarged(size: int) -> int:
    """Return the side, in pixels, to which images are enlarged before crops of `size`: 40 for the paper's 32."""
    return size * 5 // 4


@dataclass(frozen=True)
class Whitened:
    """Whitened images, for training cropped and flipped at random, as in Liu et al., 2018, section 5.1.

    Whitening is TensorFlow's `per_image_standardization`; the paper does not specify it. The network maps [0, 1] to
    [-1, 1] before its first layer, so batches hold (w + 1) / 2 for whitened values w.

    Attributes:
        images: uint8 [N, side, side, 3]; for training, `side` is from `enlarged`.
        labels: int64 [N].
        crop: side of the random crops, in pixels; None for whole images without flips, for validation.
    """

    images: Tensor
    labels: NDArray[np.int64]
    crop: int | None
    decoded: bool = True

    def batch(
        self, indices: NDArray[np.int64], size: int, seed: Sequence[int], share: slice = slice(None)
    ) -> TrainingBatch:
        """Return the `share` of a batch: images, float32 [n, H, W, 3], and labels. All randomness comes from `seed`."""
        own = indices[share]
        images = self.images[torch.from_numpy(own)].float() / 255
        if self.crop is not None:
            images = _cropped(images, self.crop, len(indices), seed_of(*seed), share)
        return (whiten(images) + 1) / 2, torch.from_numpy(self.labels[own])


def _cropped(images: Tensor, crop: int, count: int, seed: int, share: slice) -> Tensor:
    """Return a random crop of each image, flipped with a probability of 1/2; the draws are for the whole batch."""
    generator = torch.Generator().manual_seed(seed)
    flipped = (torch.rand(count, generator=generator) < 0.5)[share]
    corners = torch.randint(0, images.shape[1] - crop + 1, (2, count), generator=generator)[:, share]
    rows, columns = (each[:, None] + torch.arange(crop) for each in corners)
    crops = images[torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return torch.where(flipped[:, None, None, None], crops.flip(2), crops)


def whiten(images: Tensor) -> Tensor:
    """Scale each image [B, H, W, 3] to mean 0 and deviation 1; the deviation counts as at least 1/sqrt(3 H W)."""
    values = images.flatten(1)
    deviation = values.std(1, correction=0).clamp(min=values.shape[1] ** -0.5)
    return (images - values.mean(1)[:, None, None, None]) / deviation[:, None, None, None]
