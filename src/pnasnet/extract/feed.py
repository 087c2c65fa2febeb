"""The pictures that are left to compute, as one stream over all units, each with the place of its row."""

import errno
import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import ImageError
from ..images import Source, read_file
from ..pictures import Picture, Unit, UnreachableError
from .folder import Kept
from .part import Part

T = TypeVar("T")

_TRIES = 3
_OUTAGES = (errno.EIO, errno.ESTALE, errno.ENOTCONN)  # what a failing disk or a lost server answers
_MOST_ROWS = 2**24
"""The largest number of pictures that a damaged file is believed to hold; each would become a row."""
AHEAD = 32
"""How many pictures are read ahead from shards that are read from one end to the other."""


@dataclass(frozen=True)
class Place:
    """The place of a picture's row.

    Attributes:
        unit: the number of its unit.
        row: the number of its row within the unit.
        last: whether the unit ends with it.
        rest: whether its row stands for the rest of the unit, which could not be opened or read.
        part: the part in which its row replaces an earlier one; None for a new row.
    """

    unit: int
    row: int
    last: bool = False
    rest: bool = False
    part: Part | None = None


@dataclass(frozen=True)
class Placed:
    """A picture and the place of its row."""

    picture: Picture
    place: Place

    @property
    def name(self) -> str:
        """The name of the picture."""
        return self.picture.name


def feed(
    units: Iterable[tuple[int, Unit]], kept: Mapping[int, Kept], *, outages_fail: bool = False
) -> Iterator[Placed]:
    """Yield what is left to compute of numbered units: first rows to compute again, then new ones.

    If a unit is damaged, pictures that fail take the place of what is left of it: as many as the unit has, or one if
    that is unknown. If it cannot be reached, one stands for the rest, unless `outages_fail`: then it counts as damaged.
    """
    for number, unit in units:
        known = kept.get(number, Kept())
        if known.again:
            yield from _again(number, unit, known)
        if not known.has_all(unit):
            yield from _rest_of(number, unit, known.rows, outages_fail=outages_fail)


def pictures_of(units: Iterable[Unit]) -> Iterator[Picture]:
    """Yield the pictures of units, in order; if a unit is damaged or out of reach, what is left of it fails."""
    return (placed.picture for placed in feed(enumerate(units), {}, outages_fail=True))


def _again(number: int, unit: Unit, known: Kept) -> Iterator[Placed]:
    """Yield the pictures of rows that are kept but computed again."""
    parts = {row: part for part, rows in known.again for row in rows}
    row, failure = min(parts), ImageError(f"{unit.name}: the picture of this row is gone: check the file")
    try:
        for picture in _pictures(unit, row):
            if row in parts:
                yield Placed(picture, Place(number, row, part=parts.pop(row)))
            row += 1
            if not parts:
                return
    except ImageError as error:
        failure = error
    for row, part in parts.items():
        yield Placed(Picture.failing(unit.name_at(row), failure), Place(number, row, part=part))


def _rest_of(number: int, unit: Unit, row: int, *, outages_fail: bool) -> Iterator[Placed]:
    """Yield the pictures of a unit from a row on, one behind, so that the last one is known to be the last."""
    begun, previous, failure = row, None, None
    try:
        for picture in _pictures(unit, row):
            if previous is not None:
                yield Placed(previous, Place(number, row))
                row += 1
            previous = picture
    except ImageError as error:
        failure = error
    if previous is None and failure is None and begun == 0:
        failure = ImageError(f"{unit.name}: holds no picture")
    if previous is not None:
        yield Placed(previous, Place(number, row, last=failure is None))
        row += 1
    if failure is not None:
        yield from _failing(number, unit, row, failure, outages_fail=outages_fail)


def _failing(number: int, unit: Unit, row: int, failure: ImageError, *, outages_fail: bool) -> Iterator[Placed]:
    """Yield pictures that fail, in place of what is left of a unit."""
    if isinstance(failure, UnreachableError) and outages_fail:
        failure = ImageError(str(failure))
    if isinstance(failure, UnreachableError) or unit.size is None or unit.size > _MOST_ROWS:
        yield Placed(Picture.failing(unit.name_at(row), failure), Place(number, row, last=True, rest=True))
        return
    for each in range(row, unit.size):
        yield Placed(Picture.failing(unit.name_at(each), failure), Place(number, each, last=each == unit.size - 1))


def _pictures(unit: Unit, start: int) -> Iterator[Picture]:
    """Yield the pictures of a unit; if a server breaks off, ask again for the others, three times without progress."""
    tries, done = 0, start
    while True:
        begun = done
        try:
            for picture in unit.pictures(done):
                done += 1
                yield picture
            return
        except UnreachableError:
            tries = tries + 1 if done == begun else 0
            if tries == _TRIES:
                raise


def read_picture(picture: Picture) -> Source:
    """Return the bytes of a picture. Raises `ImageError`; `UnreachableError` if the reason lies outside the picture."""
    found = picture.read()
    return _read_listed(found) if isinstance(found, str) else found


def read_or_fail(picture: Picture) -> Source:
    """Do the same, but count a picture that cannot be reached as one that fails."""
    try:
        return read_picture(picture)
    except UnreachableError as error:
        raise ImageError(str(error)) from error


def _read_listed(path: str) -> bytes:
    """Return the bytes of a file that existed when it was listed.

    A file that is missing among others is gone. If its folder is missing or empty, the disk may not be mounted.
    """
    try:
        return read_file(path)
    except ImageError as error:
        cause = error.__context__
        if not isinstance(cause, OSError):
            raise
        if cause.errno == errno.ENOENT and not _has_entries(Path(path).parent):
            where = "its folder is missing or empty"
            raise UnreachableError(f"{path}: no such file, and {where}: check the path and the disk") from cause
        if cause.errno not in _OUTAGES:
            raise
        raise UnreachableError(str(error)) from cause


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except (OSError, ValueError):
        return False


AHEAD_BYTES = 2**28
"""Bytes that pictures read ahead may take together."""


def read_ahead(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """Yield the items while a thread fetches up to `count`, or `AHEAD_BYTES` bytes, of those to come."""
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(count)
    held = deque[int]()  # bytes in memory of the items that wait
    stop = threading.Event()

    def put(entry: tuple[T | None, BaseException | None]) -> bool:
        size = getattr(entry[0], "held", 0)
        while not stop.is_set():
            if sum(held) + size > AHEAD_BYTES and held:  # one alone is never held up
                stop.wait(0.01)
                continue
            try:
                held.append(size)
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                held.pop()
        return False

    def fill() -> None:
        failure: BaseException | None = None
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:
            failure = error
        put((None, failure or StopIteration()))

    thread = threading.Thread(target=fill, name="pnasnet-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, end = waiting.get()
            held.popleft()
            if isinstance(end, StopIteration):
                return
            if end is not None:
                raise end
            yield item  # type: ignore[misc] # an entry without an end has an item
    finally:
        stop.set()
        thread.join()
