"""Finds and leaves out images that cannot be decoded, before the actual work begins."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError
from ..images import decode, get_preset
from ..support.system import processors
from ..support.text import some_of
from .labelled import LabelledImages

T = TypeVar("T")

_AHEAD = 64
"""Images per thread to decode at a time. The limit keeps unused results from filling the memory."""


def decode_picture(data: LabelledImages, index: int, preset: str = "hub") -> NDArray[np.uint8]:
    """Return the pixels of the image at `index`, uint8 [H, W, 3], decoded as the preset requires.

    Raises `ImageError`, with the name of the image, if it cannot be read.
    """
    chosen, name = get_preset(preset), str(data.names[index])
    try:
        return decode(data.read(index), exif=chosen.exif, fast_dct=chosen.fast_dct)
    except ImageError as error:  # for bytes, the message lacks the name
        raise ImageError(str(error).replace("image bytes", name, 1)) from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error}): check the disk") from error


def readable(
    data: LabelledImages,
    *,
    preset: str = "hub",
    threads: int | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> tuple[LabelledImages, dict[str, str]]:
    """Decode every image once. Return the readable images, and for each of the others, by name, the reason.

    Args:
        data: the images.
        preset: the preprocessing, which determines how images are decoded.
        threads: number of threads; None for one per processor.
        advance: called with the number of images decoded since the last call.

    Raises:
        InputError: none of the images of a class is readable.
    """
    failures: dict[int, str] = {}
    for index, outcome in enumerate(decode_all(data, lambda pixels: None, preset=preset, threads=threads)):
        if isinstance(outcome, ImageError):
            failures[index] = str(outcome)
        advance(1)
    return without(data, failures), {str(data.names[index]): reason for index, reason in failures.items()}


def decode_all(
    data: LabelledImages,
    use: Callable[[NDArray[np.uint8]], T],
    *,
    preset: str = "hub",
    threads: int | None = None,
) -> Iterator[T | ImageError]:
    """Yield `use(pixels)` for each image, in order, or the error if the image cannot be decoded."""

    def one(index: int) -> T | ImageError:
        try:
            return use(decode_picture(data, index, preset))
        except ImageError as error:
            return error.with_traceback(None)

    workers = threads or processors()
    with ThreadPoolExecutor(workers) as pool:
        indices = iter(range(len(data)))
        while piece := list(islice(indices, _AHEAD * workers)):
            yield from pool.map(one, piece)


def without(data: LabelledImages, failures: Mapping[int, str]) -> LabelledImages:
    """Return `data` without the images at the given indices. Raises `InputError` if a class loses all its images."""
    if not failures:
        return data
    kept = data.take([index for index in range(len(data)) if index not in failures])
    lost = np.flatnonzero((data.counts() > 0) & (kept.counts() == 0))
    if len(lost):
        names = some_of([data.classes[index] for index in lost])
        reason = next(reason for index, reason in failures.items() if data.labels[index] == lost[0])
        raise InputError(f"{len(lost)} of {len(data.classes)} classes have no readable image ({names}): {reason}")
    return kept
