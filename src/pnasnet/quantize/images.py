"""Reads the images of a quantization: a random sample of the sources, decoded and preprocessed."""

import hashlib
import logging
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError
from ..extract import pictures_of
from ..extract.feed import read_picture, with_name
from ..images import load
from ..pictures import Picture, Unit
from ..support.progress import Progress, counter
from ..support.system import processors
from ..support.text import clean, counted
from .options import FEWEST_IMAGES, QuantizeOptions

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Images:
    """Network inputs, float32 [images, height, width, 3] in [0, 1].

    Attributes:
        calibration: the images on which ranges are measured.
        held_out: the images on which the fidelity is measured.
        failed: number of sampled images that could not be read.
    """

    calibration: Floats
    held_out: Floats
    failed: int

    def checksum(self) -> str:
        """Return the SHA-256 of the calibration images' shape and values, in hexadecimal."""
        digest = hashlib.sha256(f"{self.calibration.shape}\n".encode())
        digest.update(np.ascontiguousarray(self.calibration).data)
        return digest.hexdigest()


def read_images(
    units: Iterable[Unit], size: tuple[int, int], preset: str, options: QuantizeOptions, progress: Progress
) -> Images:
    """Read a random sample of the images in `units`, and divide it. The same units give the same sample.

    If there are fewer images than `options` ask for, they are divided in the same proportion.

    Raises:
        InputError: there are no images, none that can be read, or too few of them.
        UnknownNameError: there is no such preset.
    """
    pictures = _sample(pictures_of(units), options.images + options.held_out)
    if not pictures:
        raise InputError("there are no images to calibrate with: name files, folders, archives or tables of images")
    found: list[Floats] = []
    errors: list[str] = []
    advance = counter(progress, "decoding", len(pictures))

    def read(picture: Picture) -> Floats | str:
        try:
            return load(read_picture(picture), size, preset).image
        except ImageError as error:
            return with_name(error, picture)

    with ThreadPoolExecutor(processors()) as decoders:
        for image in decoders.map(read, pictures):
            if isinstance(image, str):
                errors.append(image)
            else:
                found.append(image)
            advance(1)
    _check(len(found), errors)
    return _divided(found, len(errors), options)


def _sample(pictures: Iterable[Picture], size: int) -> list[Picture]:
    """Return a uniform sample without replacement, in random order (Vitter's algorithm R, then a shuffle)."""
    chance, kept = random.Random(0), list[Picture]()
    for seen, picture in enumerate(pictures):
        if len(kept) < size:
            kept.append(picture)
        elif (place := chance.randrange(seen + 1)) < size:
            kept[place] = picture
    chance.shuffle(kept)
    return kept


def _check(count: int, errors: list[str]) -> None:
    total = count + len(errors)
    if errors:
        log.warning(
            "%s of %s cannot be read, such as %s", f"{len(errors):,}", counted(total, "image"), clean(errors[0])
        )
    if not count:
        raise InputError(f"none of {counted(total, 'image')} can be read, so there is nothing to calibrate with")
    if count < 2 * FEWEST_IMAGES:
        raise InputError(
            f"only {counted(count, 'readable image')}: quantization needs at least {2 * FEWEST_IMAGES}, half to "
            "calibrate and half to measure; several hundred are better"
        )


def _divided(found: list[Floats], failed: int, options: QuantizeOptions) -> Images:
    wanted = options.images + options.held_out
    first = options.images if len(found) >= wanted else max(FEWEST_IMAGES, len(found) * options.images // wanted)
    first = min(first, len(found) - FEWEST_IMAGES)
    if len(found) < wanted:
        log.info(
            "%s instead of %s: %s to calibrate, %s to measure",
            counted(len(found), "readable image"), f"{wanted:,}", f"{first:,}", f"{len(found) - first:,}",
        )  # fmt: skip
    return Images(np.stack(found[:first]), np.stack(found[first:]), failed)
