"""Resizes and crops like the published preprocessings, bit-exactly wherever float32 arithmetic permits."""

from math import floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError

Size = tuple[int, int]
Array = NDArray[np.uint8] | NDArray[np.float32]

# Resizing an image of 1 x 100,000 pixels to cover a square would need gigabytes.
_MAX_COVERING_PIXELS = 2**27


def resize_bilinear(image: Array, size: Size, *, scale: float = 1.0) -> NDArray[np.float32]:
    """Resize as TensorFlow 1's `tf.image.resize_bilinear` does by default.

    Output row y samples input row y * in / out: corners are not aligned, there are no half-pixel centres, and there is
    no antialiasing, so each output pixel depends on two input rows and two input columns only. The arithmetic is
    float32 in the order of TensorFlow's kernel: across columns first, then across rows.

    Args:
        image: uint8 or float32 [H, W, C].
        size: height and width of the result.
        scale: factor applied to every value first, such as 1 / 255.

    Returns:
        float32 [height, width, C].

    Example:
        >>> import numpy as np
        >>> from pnasnet.images import resize_bilinear
        >>> resize_bilinear(np.array([[[0], [2]]], np.uint8), (1, 4)).ravel()
        array([0., 1., 2., 2.], dtype=float32)
    """
    height, width = size
    rows, row_weights = _neighbours(image.shape[0], height)
    columns, column_weights = _neighbours(image.shape[1], width)
    # Gather before converting to float, since at most 2h x 2w pixels are used.
    corners = image[rows].take(columns, axis=1).astype(np.float32)
    corners *= np.float32(scale)
    lines = _lerp(corners[:, :width], corners[:, width:], column_weights[:, None])
    return _lerp(lines[:height], lines[height:], row_weights[:, None, None])


def _neighbours(length: int, out_length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the indices [2 * out_length] of lower and then of upper neighbours, and the upper ones' weights."""
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
    """Return the view that `tf.image.central_crop` keeps; margins are rounded down.

    Args:
        image: [H, W, C].
        fraction: fraction of each side that is kept, in (0, 1].

    Example:
        >>> from pnasnet.images import central_crop, decode
        >>> central_crop(decode("photos/coffee.jpg"), 0.5).shape
        (200, 300, 3)
    """
    top, left = (int((length - length * fraction) / 2) for length in image.shape[:2])
    return image[top : image.shape[0] - top, left : image.shape[1] - left]


def resize_crop_bicubic(image: NDArray[np.uint8], size: Size, fraction: float) -> NDArray[np.uint8]:
    """Resize with Pillow's antialiased bicubic filter, then crop the centre, as in timm's evaluation.

    The image is resized to just cover `size` / `fraction`; its aspect ratio is kept.

    Args:
        image: uint8 [H, W, 3].
        size: height and width of the result.
        fraction: fraction of the shorter side of the resized image that is kept, in (0, 1].

    Returns:
        uint8 [height, width, 3].

    Raises:
        ImageError: the image is so elongated that covering `size` would take over 100 million pixels.

    Example:
        >>> from pnasnet.images import decode, resize_crop_bicubic
        >>> resize_crop_bicubic(decode("photos/coffee.jpg"), (331, 331), 0.911).shape
        (331, 331, 3)
    """
    height, width = _covering(image.shape[:2], (floor(size[0] / fraction), floor(size[1] / fraction)))
    if height * width > max(_MAX_COVERING_PIXELS, image.shape[0] * image.shape[1]):
        raise ImageError(
            f"too elongated ({image.shape[1]} x {image.shape[0]} pixels) for a preset that keeps the aspect ratio: "
            "crop it, or choose another preset"
        )
    top, left = round((height - size[0]) / 2), round((width - size[1]) / 2)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)[top : top + size[0], left : left + size[1]]


def _covering(shape: tuple[int, ...], target: Size) -> Size:
    """Return the size that has the aspect ratio of `shape` and just covers `target`, rounded as by timm."""
    height, width = shape
    if target[0] == target[1]:
        side = target[0]
        return (side, side * width // height) if height <= width else (side * height // width, side)
    ratio = min(height / target[0], width / target[1])
    return round(height / ratio), round(width / ratio)
