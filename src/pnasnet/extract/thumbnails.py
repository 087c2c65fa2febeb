"""Thumbnails of pictures that rows name, wherever these lie."""

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial

from ..errors import PnasnetError
from ..pictures import Picture, find_named
from ..reports.pages import small_jpeg
from ..support.paths import utf8
from ..support.system import processors
from ..support.text import clean
from .pipeline import map_ahead
from .report import Failures

log = logging.getLogger(__name__)

_KINDS = 3


def thumbnails(
    names: Iterable[str], side: int, *, quality: int = 80, progress: Callable[[int], object] = lambda done: None
) -> Generator[bytes | None, None, None]:
    """Yield a small JPEG of each picture, in the order of their names; None where there is no picture any more.

    Pictures are looked for shard by shard, as by `find_named`; those whose turn has not come are kept, which are few
    where the names are in the order of the rows. In the end a warning is logged that counts those that were not to be
    had, and says why.

    Args:
        names: as in the column `path`.
        side: pixels of the longer side, at most.
        quality: of the JPEGs.
        progress: told how many are done.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(utf8(name), []).append(place)
    waiting: dict[int, bytes | None] = {}
    failures, done, due = Failures(), 0, 0
    workers = processors()
    shrink = partial(_shrink, side=side, quality=quality)
    with closing(map_ahead(shrink, find_named(places), workers=workers, ahead=2 * workers)) as shrunk:
        for name, jpeg, error in shrunk:
            for place in places[name]:
                waiting[place] = jpeg
                done += 1
                if error is not None:
                    failures.add(name, error)
            progress(done)
            while due in waiting:
                yield waiting.pop(due)
                due += 1
    if failures.count:
        log.warning("%s of %s pictures could not be opened: %s", f"{failures.count:,}", f"{done:,}", _why(failures))


def _shrink(picture: Picture, side: int, quality: int) -> tuple[str, bytes | None, str | None]:
    """Return a picture's name and its small JPEG, or why there is none."""
    try:
        return picture.name, small_jpeg(picture.read(), side, quality=quality), None
    except PnasnetError as error:
        return picture.name, None, str(error).removeprefix("image bytes: ")


def _why(failures: Failures) -> str:
    """Return the most frequent reasons, each with one of its pictures."""
    groups = failures.groups()
    told = [f"{group['count']:,} such as {_example(**group['examples'][0])}" for group in groups[:_KINDS]]
    left = sum(group["count"] for group in groups[_KINDS:])
    return clean("; ".join([*told, f"{left:,} for other reasons"] if left else told))


def _example(path: str, error: str) -> str:
    return f"{path}: {error.removeprefix(f'{path}: ')}"
