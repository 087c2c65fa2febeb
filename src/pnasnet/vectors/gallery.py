"""The common parts of all pages of images: thumbnails, and facts about the features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..reports.pages import data_url
from ..support.paths import common_folder
from ..support.progress import Progress, silent
from ..support.text import clean, counted, kilobytes
from .features import Entry, Features
from .opening import open_thumbnails

if TYPE_CHECKING:
    from ..pictures import Access

MAX_PICTURES = 2000
"""Limit of the images on a page; the others are counted."""

THUMBNAIL = 256
"""Longer side of an image on a page, in pixels."""

_FACTS = ("model", "weights", "preset", "image_size", "endpoint", "exif", "precision")


@dataclass(frozen=True)
class Shown:
    """An image on a page.

    Attributes:
        entry: its description; the path is not trusted.
        jpeg: its thumbnail; None if the image cannot or must not be opened.
        file_size: size of its file in bytes; None if it cannot be opened.
        place: its index among the distinct images of the page.
        name: the path below the folder that all images of the page have in common.
    """

    entry: Entry
    jpeg: bytes | None
    file_size: int | None
    place: int
    name: str

    @property
    def image(self) -> str | None:
        """The thumbnail as a `data:` URL."""
        return data_url(self.jpeg)

    @property
    def size(self) -> str:
        """Width, height and file size as text, as far as they are known."""
        pixels = [f"{self.entry.width:,} x {self.entry.height:,} pixels"] if self.entry.width else []
        return ", ".join([*pixels, *([kilobytes(self.file_size)] if self.file_size is not None else [])])

    @property
    def listed(self) -> str | None:
        """The path for a list of files; None if it has characters that break lines or control a terminal."""
        return self.entry.path if clean(self.entry.path) == self.entry.path else None


def show(
    features: Features,
    entries: Sequence[Entry],
    access: "Access",
    *,
    trusted: frozenset[str] = frozenset(),
    progress: Progress = silent,
) -> list[Shown]:
    """Open the images of a page; equal paths are opened once and have the same place.

    `trusted` are names that the user typed. Warnings count the images that cannot or must not be opened.
    """
    distinct: dict[str, Entry] = {}
    for entry in entries:
        if entry.path not in distinct or distinct[entry.path].width is None:
            distinct[entry.path] = entry
    opened = open_thumbnails(features, list(distinct), access, THUMBNAIL, trusted=trusted, progress=progress)
    common = len(common_folder(list(distinct)))
    found = {
        path: Shown(entry, each.jpeg if each else None, each.file_size if each else None, place, path[common:])
        for place, ((path, entry), each) in enumerate(zip(distinct.items(), opened, strict=True))
    }
    return [found[entry.path] for entry in entries]


def facts(features: Features) -> list[tuple[str, str]]:
    """Return pairs of name and value: the path of the features, then their metadata about the vectors."""
    recorded = [(key.replace("_", " "), features.metadata.get(key, "not stated")) for key in _FACTS]
    return [("features", str(features.path)), *recorded]


def fitting(sizes: Sequence[int]) -> list[int]:
    """Return how many images of each section a page has room for, given the sizes of the sections."""
    ends = np.minimum(np.cumsum([0, *sizes]), MAX_PICTURES)
    return [int(count) for count in np.diff(ends)]


def not_shown(sizes: Sequence[int]) -> str:
    """Return a phrase on the images that do not fit; empty if all do."""
    hidden = sum(sizes) - sum(fitting(sizes))
    return counted(hidden, "more image") if hidden else ""
