"""Thumbnails of images, found by the names in their rows."""

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from ..errors import PnasnetError
from ..pictures import Access, Picture, find_named
from ..reports.pages import small_jpeg
from ..support.arguments import checked
from ..support.system import processors
from ..support.text import clean, utf8
from .feed import read_picture
from .pipeline import map_ahead
from .report import Failures

log = logging.getLogger(__name__)

_KINDS = 3


@dataclass(frozen=True)
class Thumbnail:
    """A small JPEG of an image, and the size of its file in bytes."""

    jpeg: bytes
    file_size: int


@checked
def thumbnails(
    names: Iterable[str],
    side: int,
    *,
    exif: bool = False,
    quality: int = 80,
    access: Access | None = None,
    advance: Callable[[int], object] = lambda images: None,
) -> Generator[Thumbnail | None, None, None]:
    """Yield a thumbnail of each image, in the order of the names; None for an image that cannot be opened.

    Images are read shard by shard, as by `find_named`. Thumbnails that are found before their turn wait in memory; they
    are few if the names are in the order of the rows. At the end, a warning counts the missing images, with reasons.

    Args:
        names: names as in the column `path`.
        side: maximum of the longer side, in pixels.
        exif: whether to apply the EXIF orientation; pass the value used for the vectors to show the network's input.
        quality: JPEG quality.
        access: the files and hosts that may be opened; None for all.
        advance: called with the number of images done since the last call.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(utf8(name), []).append(place)
    waiting: dict[int, Thumbnail | None] = {}
    failures, done, due = Failures(), 0, 0
    workers = processors()
    shrink = partial(_shrink, side=side, exif=exif, quality=quality)
    with closing(map_ahead(shrink, find_named(places, access), workers=workers, ahead=2 * workers)) as shrunk:
        for name, thumbnail, error in shrunk:
            for place in places[name]:
                waiting[place] = thumbnail
                done += 1
                if error is not None:
                    failures.add(name, error)
            advance(len(places[name]))
            while due in waiting:
                yield waiting.pop(due)
                due += 1
    if failures.count:
        log.warning("%s of %s images could not be opened: %s", f"{failures.count:,}", f"{done:,}", _why(failures))


def _shrink(picture: Picture, side: int, exif: bool, quality: int) -> tuple[str, Thumbnail | None, str | None]:
    """Return an image's name, and its thumbnail or the error."""
    try:
        data = read_picture(picture)
        assert isinstance(data, bytes | bytearray | memoryview)  # `read_picture` reads paths
        jpeg = small_jpeg(data, side, exif=exif, quality=quality)
        return picture.name, Thumbnail(jpeg, memoryview(data).nbytes), None
    except PnasnetError as error:
        return picture.name, None, str(error).removeprefix("image bytes: ")


def _why(failures: Failures) -> str:
    """Return the most frequent reasons, each with an example."""
    groups = failures.groups()
    reasons = [f"{group['count']:,} such as {_example(**group['examples'][0])}" for group in groups[:_KINDS]]
    others = sum(group["count"] for group in groups[_KINDS:])
    return clean("; ".join([*reasons, f"{others:,} for other reasons"] if others else reasons))


def _example(path: str, error: str) -> str:
    return f"{path}: {error.removeprefix(f'{path}: ')}"
