"""Augmentation of training images. All randomness comes from the generators passed in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..images import resize_bilinear
from .recipe import CropAndFlip, ShiftAndFlip

Pixels = NDArray[np.float32]

_ATTEMPTS = 100
_BRIGHTNESS = 32 / 255
_FACTORS = (0.5, 1.5)
_HUE = 0.2


@dataclass(frozen=True)
class Moves:
    """Random changes of a batch of small images, one of each kind for each image.

    Attributes:
        flipped: [B] bool, whether the image is mirrored.
        shifts: [B, 2] int64, row and column of the new top left pixel in the image with a reflected margin.
        squares: [B, 2] int64, row and column of the grey square's top left pixel; may be outside the image.
        margin: width of the reflected margin in pixels: the largest shift.
        cutout: side of the grey square in pixels; 0 for none.
    """

    flipped: Tensor
    shifts: Tensor
    squares: Tensor
    margin: int
    cutout: int

    @classmethod
    def draw(cls, count: int, size: Sequence[int], how: ShiftAndFlip, generator: torch.Generator) -> "Moves":
        """Draw the changes of `count` images of `size`, height and width. A square's centre may be any pixel."""
        flipped = torch.rand(count, generator=generator) < 0.5
        shifts = torch.randint(0, 2 * how.shift + 1, (2, count), generator=generator).T
        centres = [torch.randint(0, length, (count,), generator=generator) for length in size]
        return cls(flipped, shifts, torch.stack(centres, 1) - how.cutout // 2, how.shift, how.cutout)

    def take(self, share: slice) -> "Moves":
        """Return the changes of some images of the batch."""
        return replace(self, flipped=self.flipped[share], shifts=self.shifts[share], squares=self.squares[share])

    def apply(self, images: Tensor, size: int) -> Tensor:
        """Mirror and shift each image, grey out its square, and resize the batch to `size`.

        Args:
            images: [B, height, width, 3] uint8.
            size: height and width of the result.

        Returns:
            [B, size, size, 3] float32 in [0, 1].
        """
        count, height, width, _ = images.shape
        images = torch.where(self.flipped[:, None, None, None], images.flip(2), images)
        channels_first = images.permute(0, 3, 1, 2).float() / 255
        padded = functional.pad(channels_first, (self.margin,) * 4, mode="reflect").permute(0, 2, 3, 1)
        rows = self.shifts[:, 0, None] + torch.arange(height)
        columns = self.shifts[:, 1, None] + torch.arange(width)
        moved = padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
        if self.cutout:
            moved = torch.where(self._greyed(height, width), torch.tensor(0.5), moved)
        return moved if size == height == width else _resize(moved, size)

    def _greyed(self, height: int, width: int) -> Tensor:
        """Return the pixels of the grey squares, [B, height, width, 1] bool."""
        rows = torch.arange(height) - self.squares[:, 0, None]
        columns = torch.arange(width) - self.squares[:, 1, None]
        inside = [(each >= 0) & (each < self.cutout) for each in (rows, columns)]
        return (inside[0][:, :, None] & inside[1][:, None, :])[..., None]


def _resize(images: Tensor, size: int) -> Tensor:
    smaller = functional.interpolate(images.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=True)
    return smaller.permute(0, 2, 3, 1)


def crop_and_flip(pixels: NDArray[np.uint8], size: int, how: CropAndFlip, rng: np.random.Generator) -> Pixels:
    """Return a random crop of an image at `size`, mirrored at random, with distorted colours.

    Args:
        pixels: uint8 [H, W, 3].
        size: height and width of the result.
        how: the ranges.
        rng: the source of randomness.

    Returns:
        float32 [size, size, 3] in [0, 1].
    """
    top, left, height, width = random_box(pixels.shape[0], pixels.shape[1], how, rng)
    crop = pixels[top : top + height, left : left + width]
    image = resize_bilinear(crop, (size, size), scale=1 / 255)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    return np.ascontiguousarray(distort_colours(image, rng) if how.colours else image)


def random_box(height: int, width: int, how: CropAndFlip, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random box within the ranges, or of the whole image if none is found.

    Like TensorFlow's `sample_distorted_bounding_box` with the whole image as the bounding box.
    """
    for _ in range(_ATTEMPTS):
        area = rng.uniform(*how.area) * height * width
        ratio = rng.uniform(*how.ratio)
        h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    return 0, 0, height, width


def distort_colours(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Change brightness, saturation, hue and contrast in random order; float32 [H, W, 3] in [0, 1], in and out."""
    for step in rng.permutation(4):
        if step == 0:
            image = image + np.float32(rng.uniform(-_BRIGHTNESS, _BRIGHTNESS))
        elif step == 1:
            image = shift_hsv(image, 0.0, rng.uniform(*_FACTORS))
        elif step == 2:
            image = shift_hsv(image, rng.uniform(-_HUE, _HUE), 1.0)
        else:
            mean = image.mean((0, 1), keepdims=True)
            image = (image - mean) * np.float32(rng.uniform(*_FACTORS)) + mean
    return image.clip(0, 1).astype(np.float32, copy=False)


def shift_hsv(image: Pixels, turn: float, saturation: float) -> Pixels:
    """Rotate the hue by `turn` full turns and scale the saturation; float32 [H, W, 3], first clipped to [0, 1]."""
    image = image.clip(0, 1)
    value, chroma = image.max(2), np.ptp(image, 2)
    red, green, blue = np.moveaxis(image, 2, 0)
    safe = np.where(chroma > 0, chroma, 1)
    sixths = np.where(
        value == red, (green - blue) / safe, np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    hue = sixths + 6 * turn
    scaled = np.minimum(chroma * np.float32(saturation), value)
    # One formula for all three channels: https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative
    distance = (np.array([5, 3, 1], np.float32) + hue[..., None]) % 6
    fall = np.clip(np.minimum(distance, 4 - distance), 0, 1)
    turned: Pixels = (value[..., None] - scaled[..., None] * fall).astype(np.float32, copy=False)
    return turned
