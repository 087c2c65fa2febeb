"""A random sample of a run's images, as small JPEGs for the report."""

import io
import random
import threading
from typing import Any

import numpy as np
from PIL import Image

from ..pictures import Picture
from .pipeline import Prepared

_PICTURES, _PIXELS = 48, 112


class Sample:
    """A uniform sample without replacement of a stream of unknown length (Vitter's algorithm R), in bounded memory."""

    def __init__(self, size: int = _PICTURES, seed: int = 0) -> None:
        self._size, self._random, self._lock = size, random.Random(seed), threading.Lock()
        self._seen = 0
        self._kept: list[tuple[str, bytes]] = []

    @property
    def thumbnails(self) -> list[tuple[str, bytes]]:
        """The names and small JPEGs of the sampled images."""
        return list(self._kept)

    def offer(self, picture: Picture, prepared: Prepared) -> None:
        """Add an image to the sample, or skip it; called by several threads."""
        with self._lock:
            self._seen += 1
            place = len(self._kept) if len(self._kept) < self._size else self._random.randrange(self._seen)
            if place >= self._size:
                return
            if place == len(self._kept):
                self._kept.append((picture.name, b""))  # reserves the place
        thumbnail = _thumbnail(prepared)
        with self._lock:
            self._kept[place] = (picture.name, thumbnail)

    def merge(self, other: "Sample") -> None:
        """Merge the sample of another machine; all images of both are equally likely to be kept."""
        with self._lock:
            both, left = [self._kept, list(other._kept)], [self._seen, other._seen]
            kept: list[tuple[str, bytes]] = []
            while len(kept) < self._size and any(both):
                side = self._random.choices((0, 1), left)[0]  # in proportion to the images seen
                kept.append(both[side].pop(self._random.randrange(len(both[side]))))
                left[side] -= 1
            self._kept, self._seen = kept, self._seen + other._seen

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}


def _thumbnail(prepared: Prepared) -> bytes:
    """Return the network's input as a small JPEG with the aspect ratio of the image."""
    pixels = np.clip(prepared.images[0] * 255 + 0.5, 0, 255).astype(np.uint8)
    scale = _PIXELS / max(prepared.width, prepared.height)
    size = (max(1, round(prepared.width * scale)), max(1, round(prepared.height * scale)))
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(file, "JPEG", quality=80)
    return file.getvalue()
