"""The images to compute, in the order of their units, each with the place of its row."""

import errno
import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError
from ..images import Source, read_file
from ..pictures import PassedOver, Picture, Unit, UnreachableError
from ..support.arguments import checked
from ..support.files import reason
from .folder import Kept
from .part import Part
from .pipeline import AHEAD_BYTES

_TRIES = 3
_OUTAGES = (errno.EIO, errno.ESTALE, errno.ENOTCONN)  # errors of a failing disk or a lost server
_MAX_ROWS = 2**24
"""Limit of the rows for the rest of a damaged file, whose own statement of its size is not trusted."""
_AHEAD = 32
"""Number of images that are read ahead."""


@dataclass(frozen=True)
class Place:
    """The place of a row.

    Attributes:
        unit: number of its unit.
        row: its number within the unit.
        last: whether it is the last row of the unit.
        rest: whether it stands for all remaining rows of a unit that could not be opened or read.
        part: the part whose row it replaces; None for a new row.
    """

    unit: int
    row: int
    last: bool = False
    rest: bool = False
    part: Part | None = None


PlacedPicture = tuple[Picture, Place]


def feed(
    units: Iterable[tuple[int, Unit]],
    kept: Mapping[int, Kept],
    *,
    outages_fail: bool = False,
    passed_over: PassedOver | None = None,
) -> Iterator[PlacedPicture]:
    """Yield the images of numbered units that are not kept: first those to compute again, then new ones.

    The remaining rows of a damaged unit become images that fail: as many as the unit has, or one if their number is
    unknown. For the remaining rows of an unreachable unit, a single image is yielded, unless `outages_fail`: then the
    unit counts as damaged.
    """
    for number, unit in units:
        known = kept.get(number, Kept())
        if known.again:
            yield from _again(number, unit, known)
        if not known.has_all(unit):
            yield from _new(number, unit, known.rows, outages_fail, passed_over)


@checked
def pictures_of(units: Iterable[Unit]) -> Iterator[Picture]:
    """Yield the images of units, in order; the remaining images of a damaged or unreachable unit fail.

    Example:
        >>> from pnasnet.extract import list_units, pictures_of
        >>> len(list(pictures_of(list_units(["photos"]))))
        4
    """
    return (picture for picture, _ in feed(enumerate(units), {}, outages_fail=True))


def _again(number: int, unit: Unit, known: Kept) -> Iterator[PlacedPicture]:
    """Yield the images of kept rows that are computed again."""
    parts = {row: part for part, rows in known.again for row in rows}
    row, failure = min(parts), ImageError(f"{unit.name}: the image of this row is gone: check the file")
    try:
        for picture in _pictures(unit, row):
            if row in parts:
                yield picture, Place(number, row, part=parts.pop(row))
            row += 1
            if not parts:
                return
    except ImageError as error:
        failure = error
    for row, part in parts.items():
        yield Picture.failing(unit.name_at(row), failure), Place(number, row, part=part)


def _new(
    number: int, unit: Unit, start: int, outages_fail: bool, passed_over: PassedOver | None
) -> Iterator[PlacedPicture]:
    """Yield the images of a unit from row `start` on, each after the next one is read, so that the last is known."""
    row, previous, failure = start, None, None
    try:
        for picture in _pictures(unit, row, passed_over):
            if previous is not None:
                yield previous, Place(number, row)
                row += 1
            previous = picture
    except ImageError as error:
        failure = error
    if previous is None and failure is None and start == 0:
        failure = ImageError(f"{unit.name}: holds no image")
    if previous is not None:
        yield previous, Place(number, row, last=failure is None)
        row += 1
    if failure is None:
        return
    if isinstance(failure, UnreachableError) and outages_fail:
        failure = ImageError(str(failure))
    if isinstance(failure, UnreachableError) or unit.size is None or unit.size > _MAX_ROWS:
        yield Picture.failing(unit.name_at(row), failure), Place(number, row, last=True, rest=True)
        return
    for each in range(row, unit.size):
        yield Picture.failing(unit.name_at(each), failure), Place(number, each, last=each == unit.size - 1)


def _pictures(unit: Unit, start: int, passed_over: PassedOver | None = None) -> Iterator[Picture]:
    """Yield the images of a unit from row `start` on; after an outage, try three times to read the others."""
    tries, done = 0, start
    while True:
        before, counted = done, PassedOver()  # each attempt counts all skipped files of the unit
        try:
            for picture in unit.pictures(done, counted):
                done += 1
                yield picture
            if passed_over is not None:
                passed_over.merge(counted)
            return
        except UnreachableError:
            tries = tries + 1 if done == before else 0
            if tries == _TRIES:
                raise


def read_picture(picture: Picture) -> Source:
    """Return the content of an image.

    Raises `ImageError`, or its subclass `UnreachableError` if the cause lies outside the image.
    """
    try:
        found = picture.read()
        return _read_listed(found) if isinstance(found, str | os.PathLike) else found
    except OSError as error:
        raise ImageError(f"{picture.name}: cannot be read ({reason(error)}): check the disk") from error


def with_name(error: ImageError, picture: Picture) -> str:
    """Return the message of a decoder's error with the name of the image, which bytes do not know."""
    return str(error).replace("image bytes", picture.name, 1)


def _read_listed(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file that existed when it was listed.

    A missing file is an `ImageError`. If its folder is missing or empty, too, the disk may not be mounted: that is an
    `UnreachableError`.
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


def read_ahead(pictures: Iterable[Picture]) -> Generator[Picture, None, None]:
    """Yield the images while a thread fetches the next ones: up to 32, or up to `AHEAD_BYTES` of their bytes."""
    waiting: queue.Queue[Picture | BaseException | None] = queue.Queue(_AHEAD)  # None is the end
    held = deque[int]()  # bytes of each waiting image
    stop = threading.Event()

    def put(entry: Picture | BaseException | None) -> None:
        size = entry.held if isinstance(entry, Picture) else 0
        while not stop.is_set():
            if sum(held) + size > AHEAD_BYTES and held:  # a single image never waits
                stop.wait(0.01)
                continue
            try:
                held.append(size)
                waiting.put(entry, timeout=0.1)
                return
            except queue.Full:
                held.pop()

    def fill() -> None:
        end: BaseException | None = None
        try:
            for picture in pictures:
                put(picture)
                if stop.is_set():
                    return
        except BaseException as error:
            end = error
        put(end)

    thread = threading.Thread(target=fill, name="pnasnet-reader", daemon=True)
    thread.start()
    try:
        while (entry := waiting.get()) is not None:
            held.popleft()
            if isinstance(entry, BaseException):
                raise entry
            yield entry
    finally:
        stop.set()
        thread.join()
