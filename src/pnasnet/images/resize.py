"""The resizes and crops of the published preprocessings, to the last bit where arithmetic allows."""

from math import floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError

Size = tuple[int, int]
Array = NDArray[np.uint8] | NDArray[np.float32]

# Covering a square with a strip of 1 x 100,000 pixels would take gigabytes.
_MAX_COVERING_PIXELS = 2**27


def resize_bilinear(image: Array, size: Size, *, scale: float = 1.0) -> NDArray[np.float32]:
    """Resize as TensorFlow 1's `tf.image.resize_bilinear` does by default.

    Output row y lies exactly at input row y * in / out: corners are not aligned, pixels have no half-pixel
    centres, and shrinking does not average, so that only two input rows and columns count for each output one.
    All arithmetic is float32 in the order of TensorFlow's kernel: across columns first, then across rows.

    Args:
        image: uint8 or float32 [H, W, C].
        size: height and width of the result.
        scale: what every value is multiplied by first, such as 1 / 255.

    Returns:
        float32 [height, width, C].
    """
    height, width = size
    rows, row_weights = _neighbours(image.shape[0], height)
    columns, column_weights = _neighbours(image.shape[1], width)
    # Gathered before the conversion to float: at most 2h x 2w of the pixels are ever looked at.
    corners = image[rows].take(columns, axis=1).astype(np.float32)
    corners *= np.float32(scale)
    lines = _lerp(corners[:, :width], corners[:, width:], column_weights[:, None])
    return _lerp(lines[:height], lines[height:], row_weights[:, None, None])


def _neighbours(length: int, out_length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Indices of each output pixel's lower, then of each one's upper neighbour, and the upper ones' weights."""
    position = np.arange(out_length, dtype=np.float32) * (np.float32(length) / np.float32(out_length))
    lower = np.floor(position)
    index = lower.astype(np.intp)
    return np.concatenate([index, np.minimum(index + 1, length - 1)]), position - lower


def _lerp(low: NDArray[np.float32], high: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    result = high - low
    result *= weight
    result += low
    return result


def central_crop(image: Array, fraction: float) -> Array:
    """Return the view that `tf.image.central_crop` keeps: the margins before it are rounded down.

    Args:
        image: [H, W, C].
        fraction: how much of each side is kept, in (0, 1].
    """
    top, left = (int((length - length * fraction) / 2) for length in image.shape[:2])
    return image[top : image.shape[0] - top, left : image.shape[1] - left]


def resize_crop_bicubic(image: NDArray[np.uint8], size: Size, fraction: float) -> NDArray[np.uint8]:
    """Resize with Pillow's antialiased bicubic filter, then crop the centre, as timm evaluates.

    The picture is resized, keeping its proportions, to just cover `size` / `fraction`.

    Args:
        image: uint8 [H, W, 3].
        size: height and width of the result.
        fraction: how much of the resized picture's shorter side is kept, in (0, 1].

    Returns:
        uint8 [height, width, 3].

    Raises:
        ImageError: the picture is so elongated that covering `size` would take millions of pixels.
    """
    height, width = _covering(image.shape[:2], (floor(size[0] / fraction), floor(size[1] / fraction)))
    if height * width > max(_MAX_COVERING_PIXELS, image.shape[0] * image.shape[1]):
        raise ImageError(
            f"too elongated, {image.shape[1]} x {image.shape[0]} pixels, to be resized with its proportions kept: "
            "crop it, or choose a preset that does not keep them"
        )
    top, left = round((height - size[0]) / 2), round((width - size[1]) / 2)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)[top : top + size[0], left : left + size[1]]


def _covering(shape: tuple[int, ...], target: Size) -> Size:
    """The size in the proportions of `shape` that just covers `target`, rounded as torchvision and timm do."""
    height, width = shape
    if target[0] == target[1]:
        side = target[0]
        return (side, side * width // height) if height <= width else (side * height // width, side)
    ratio = min(height / target[0], width / target[1])
    return round(height / ratio), round(width / ratio)
