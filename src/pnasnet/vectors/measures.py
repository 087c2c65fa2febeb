"""Measures that find unusual images, with their thresholds.

They are computed from thumbnails, whose longer side has `gallery.THUMBNAIL` pixels. So they do not depend on the
resolution of the file, and an image counts as blurry only if it is blurry at that size.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]
"""A thumbnail, float32 [H, W, 3] in [0, 255]."""


@dataclass(frozen=True)
class Measure:
    """A measure of a thumbnail, and its gallery of images with values below a threshold.

    Attributes:
        title: heading of the gallery.
        about: what is measured, and the source.
        unit: what a value is called.
        threshold: images with lower values are in the gallery.
        of: returns the value for the pixels of a thumbnail.
    """

    title: str
    about: str
    unit: str
    threshold: float
    of: Callable[[Pixels], float]


def spread(pixels: Pixels) -> float:
    """Return the largest standard deviation of a colour channel, as a share of the range: from 0 to 0.5."""
    return float(pixels.reshape(-1, 3).std(axis=0).max() / 255)


def brightness(pixels: Pixels) -> float:
    """Return the mean luma of ITU-R BT.601, from 0 to 1."""
    return float(luma(pixels).mean() / 255)


def sharpness(pixels: Pixels) -> float:
    """Return the variance of the Laplacian of the luma, with the kernel 0 1 0, 1 -4 1, 0 1 0 and no padding."""
    grey = luma(pixels)
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var())


def luma(pixels: Pixels) -> NDArray[np.float32]:
    """Return 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), float32 [H, W] in [0, 255]."""
    weighted: NDArray[np.float32] = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return weighted


MEASURES = (
    Measure(
        "Dark", "The mean luma (ITU-R BT.601), from 0 to 1; fastdup sorts by the mean, too.", "luma", 0.15, brightness
    ),
    Measure(
        "One colour",
        "The largest standard deviation of red, green or blue, as a share of the range; fastdup sorts by it, too.",
        "deviation",
        0.03,
        spread,
    ),
    Measure(
        "Blurry",
        "The variance of the Laplacian of the luma, 0 to 255 (Pech-Pacheco et al., ICPR 2000). Smooth subjects, such "
        "as a clear sky, are found as well.",
        "variance",
        100,
        sharpness,
    ),
)
"""An image is in the first gallery that it fits: dark images often have one colour, and both are rarely sharp."""

OUTLIER_SCORE = 3.5
"""An image is an outlier if the modified z-score of its similarity to the nearest image is below minus this."""


def pixels_of(jpeg: bytes) -> Pixels:
    """Return the pixels of a thumbnail."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.float32)


def sort_into_galleries(jpegs: Sequence[bytes | None]) -> list[list[tuple[int, float]]]:
    """Return, for each of `MEASURES`, the places of its images and their values, the lowest first."""
    found: list[list[tuple[int, float]]] = [[] for _ in MEASURES]
    for place, jpeg in enumerate(jpegs):
        if jpeg is None:
            continue
        pixels = pixels_of(jpeg)
        for measure, images in zip(MEASURES, found, strict=True):
            value = measure.of(pixels)
            if value < measure.threshold:
                images.append((place, value))
                break
    return [sorted(images, key=lambda each: (each[1], each[0])) for images in found]


def outlier_limit(similarities: NDArray[np.float32]) -> float:
    """Return the similarity to the nearest image below which an image is an outlier.

    The modified z-score of a value x is 0.6745 (x - median) / MAD, where MAD is the median of the absolute deviations
    from the median, and 0.6745 is the MAD of the standard normal distribution (B. Iglewicz and D. C. Hoaglin, "How to
    Detect and Handle Outliers", 1993, who recommend a limit of 3.5).
    """
    middle = float(np.median(similarities))
    deviation = float(np.median(np.abs(similarities - middle)))
    return middle - OUTLIER_SCORE * deviation / 0.6745
