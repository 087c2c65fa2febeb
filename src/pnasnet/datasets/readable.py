"""Pictures that can be decoded: those that cannot are found before the work begins, and left out."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError
from ..images import decode, get_preset
from ..support.system import processors
from .labelled import LabelledImages

T = TypeVar("T")

_AHEAD = 64
_SHOWN = 3

Progress = Callable[[int], object]
"""Is told of so many more pictures, in the caller's thread."""


def decode_picture(data: LabelledImages, index: int, preset: str = "hub") -> NDArray[np.uint8]:
    """Return the pixels of the picture at `index`, uint8 [H, W, 3], decoded as the preset asks for.

    Raises `ImageError`, with the picture's name, where it cannot be read.
    """
    chosen, name = get_preset(preset), str(data.names[index])
    try:
        return decode(data.read(index), exif=chosen.exif, fast_dct=chosen.fast_dct)
    except ImageError as error:  # bytes do not know their name
        raise ImageError(str(error).replace("image bytes", name, 1)) from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error}): check the disk") from error


def readable(
    data: LabelledImages, *, preset: str = "hub", threads: int | None = None, progress: Progress = lambda pictures: None
) -> tuple[LabelledImages, dict[str, str]]:
    """Decode every picture once, and return the good ones, and why each other one is not, by name.

    Args:
        data: the pictures.
        preset: how they are decoded.
        threads: how many decode at a time; None for one for each processor.
        progress: told how many more were looked at.

    Raises:
        InputError: a class has lost all its pictures.
    """
    failures: dict[int, str] = {}
    for index, outcome in enumerate(decode_all(data, lambda pixels: None, preset=preset, threads=threads)):
        if isinstance(outcome, ImageError):
            failures[index] = str(outcome)
        progress(1)
    return without(data, failures), {str(data.names[index]): reason for index, reason in failures.items()}


def decode_all(
    data: LabelledImages,
    use: Callable[[NDArray[np.uint8]], T],
    *,
    preset: str = "hub",
    threads: int | None = None,
) -> Iterator[T | ImageError]:
    """Yield `use(pixels)` of every picture, in order, or the error of one that cannot be decoded."""

    def one(index: int) -> T | ImageError:
        try:
            return use(decode_picture(data, index, preset))
        except ImageError as error:
            return error.with_traceback(None)

    workers = threads or processors()
    with ThreadPoolExecutor(workers) as pool:
        # In pieces, so that results do not pile up.
        indices = iter(range(len(data)))
        while piece := list(islice(indices, _AHEAD * workers)):
            yield from pool.map(one, piece)


def without(data: LabelledImages, failures: Mapping[int, str]) -> LabelledImages:
    """Return the pictures but for those at the indices that failed. Raises `InputError` if a class loses all it had."""
    if not failures:
        return data
    kept = data.take([index for index in range(len(data)) if index not in failures])
    lost = np.flatnonzero((data.counts() > 0) & (kept.counts() == 0))
    if len(lost):
        names = ", ".join(data.classes[index] for index in lost[:_SHOWN]) + (", ..." if len(lost) > _SHOWN else "")
        reason = next(reason for index, reason in failures.items() if data.labels[index] == lost[0])
        raise InputError(f"no picture can be read of {len(lost)} of {len(data.classes)} classes ({names}): {reason}")
    return kept
