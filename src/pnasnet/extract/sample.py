"""A random sample of a run's images for the report: each photo, and the network's input."""

import io
import random
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError
from ..images import Source
from ..pictures import Picture
from ..reports.pages import small_jpeg
from .pipeline import Prepared

_PICTURES = 48
_PHOTO, _SEEN = 240, 160
"""Longer sides, in pixels, of the thumbnails of a photo and of a network's input."""


@dataclass(frozen=True)
class Sampled:
    """An image of the sample.

    Attributes:
        name: the image's name.
        seen: the input of the first network, as a small JPEG.
        photo: the photo, upright, as a small JPEG; None if it cannot be decoded again.
        unturned: whether the image has an EXIF orientation that was not applied.
    """

    name: str
    seen: bytes = b""
    photo: bytes | None = None
    unturned: bool = False


class Sample:
    """A uniform sample without replacement of a stream of unknown length (Vitter's algorithm R), in bounded memory."""

    def __init__(self, size: int = _PICTURES, seed: int = 0) -> None:
        self._size, self._random, self._lock = size, random.Random(seed), threading.Lock()
        self._seen = 0
        self._kept: list[Sampled] = []

    @property
    def pictures(self) -> list[Sampled]:
        """The sampled images."""
        return [each for each in self._kept if each.seen]

    def offer(self, picture: Picture, prepared: Prepared, source: Source | None = None) -> None:
        """Add an image to the sample or skip it. For the photo, its source is decoded again. Thread-safe."""
        with self._lock:
            self._seen += 1
            place = len(self._kept) if len(self._kept) < self._size else self._random.randrange(self._seen)
            if place >= self._size:
                return
            if place == len(self._kept):
                self._kept.append(Sampled(picture.name))  # reserves the place
        sampled = Sampled(picture.name, _input(prepared), _photo(source), prepared.unturned)
        with self._lock:
            self._kept[place] = sampled

    def merge(self, other: "Sample") -> None:
        """Merge the sample of another worker. All images that either has seen are equally likely to be kept."""
        with self._lock:
            both, left = [self._kept, list(other._kept)], [self._seen, other._seen]
            kept: list[Sampled] = []
            while len(kept) < self._size and any(both):
                side = self._random.choices((0, 1), left)[0]  # in proportion to the images seen
                kept.append(both[side].pop(self._random.randrange(len(both[side]))))
                left[side] -= 1
            self._kept, self._seen = kept, self._seen + other._seen

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}


def _photo(source: Source | None) -> bytes | None:
    """Return the photo as a small JPEG, upright even if the network's input is not."""
    try:
        return None if source is None else small_jpeg(source, _PHOTO, exif=True)
    except ImageError:
        return None


def _input(prepared: Prepared) -> bytes:
    """Return the network's input as a small JPEG, squeezed or cropped as the network got it."""
    pixels = np.clip(prepared.images[0] * 255 + 0.5, 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SEEN, _SEEN))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()
