"""The pictures of many units as one stream, read ahead by a thread, and where in it each unit ends."""

import errno
import math
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import ImageError, InputError
from ..images import Source, read_file
from ..pictures import Picture, Unit, UnreachableError
from .parts import Progress

T = TypeVar("T")

_TRIES = 3
_OUTAGES = (errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENOTCONN)  # as of a disk or a server that is gone

_BELIEVED = 2**24
"""What a damaged file may say that it has of pictures; a row is written for each."""
AHEAD = 32
"""How many pictures are read ahead from shards that can only be read from one end to the other."""


class Misses:
    """Counts what cannot be reached, one after the other, and gives up where nothing is to be reached any more."""

    def __init__(self, give_up: int) -> None:
        """Give up after so many in a row; 0 never gives up, and takes what cannot be reached for failures."""
        self._give_up, self._count = give_up, 0
        self._last: UnreachableError | None = None
        self._lock = threading.Lock()
        self.reached = -math.inf
        """When the reading of a picture last began that could be reached, by `time.monotonic`."""

    @property
    def are_failures(self) -> bool:
        """Whether what cannot be reached is not to be tried again by another run."""
        return self._give_up == 0

    def add(self, error: UnreachableError) -> None:
        """Count one, and the same error once. Raises `InputError` to give up."""
        with self._lock:
            self._count += error is not self._last
            self._last = error
            if self._count >= self._give_up:
                raise InputError(
                    f"{self._give_up} pictures or shards one after the other cannot be reached, the last one because "
                    f"of {error}; --give-up 0 takes such for failures"
                ) from error

    def clear(self, began: float) -> None:
        """Begin to count anew, for something was reached, whose reading began then."""
        with self._lock:
            self._count = 0
            self.reached = max(self.reached, began)


@dataclass(frozen=True)
class Start:
    """Where a unit begins: its number, that of its first picture that is left to do, and whether it is one file."""

    unit: int
    first: int
    is_one_file: bool


@dataclass(frozen=True)
class End:
    """Where a unit ends: before which row of the stream, and why what is left of it is out of reach, if it is."""

    row: int
    unreached: str | None = None


class Feed:
    """Yields the pictures that are left to do.

    Attributes:
        starts: of the units, in their order.
        ends: of the units; known before the row that follows is yielded.
    """

    def __init__(self, units: Iterable[tuple[int, Unit]], known: Mapping[int, Progress], misses: Misses) -> None:
        """Take the units with their numbers, how far each has come, and what counts those that cannot be reached."""
        self._units, self._known, self._misses = units, known, misses
        self.starts: deque[Start] = deque()
        self.ends: deque[End] = deque()
        self._row = 0

    @property
    def reached(self) -> float:
        """As of `Misses`."""
        return self._misses.reached

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures; where a unit is damaged, what is left of it is pictures that fail."""
        for number, unit in self._units:
            progress = self._known.get(number, Progress())
            if progress.covers(unit):
                continue
            self.starts.append(Start(number, progress.rows, unit.is_one_file))
            yield from self._unit(unit, progress.rows)

    def _unit(self, unit: Unit, start: int) -> Iterator[Picture]:
        file = _OneFile() if unit.is_one_file and not self._misses.are_failures else None
        done, tries = start, 0
        failure: ImageError | None = None
        while tries < _TRIES:
            begun = done
            try:
                for picture in unit.pictures(done):
                    done += 1
                    self._row += 1
                    yield Picture(picture.name, partial(file.read, picture)) if file else picture
                    if file and file.unreached:
                        break
                failure = None if done else ImageError(f"{unit.name}: holds no picture")
                break
            except UnreachableError as error:  # a shard's server may break off, and serve the rest when asked again
                failure, tries = error, tries + 1 if done == begun else 0
            except ImageError as error:
                failure = error
                break
        if isinstance(failure, UnreachableError) and not self._misses.are_failures:
            self.ends.append(End(self._row, str(failure)))
            self._misses.add(failure)
        elif failure is not None:
            yield from self._failing(unit, done, failure)
        else:
            self.ends.append(End(self._row))

    def _failing(self, unit: Unit, done: int, failure: ImageError) -> Iterator[Picture]:
        """End a unit with pictures that fail: as many as are left of it, or one where nobody can know how many."""
        left = 1 if unit.size is None or unit.size > _BELIEVED else unit.size - done
        self._row += left
        self.ends.append(End(self._row))  # before the last of them is yielded: with it the unit is over
        for number in range(done, done + left):
            yield Picture.failing(unit.name_at(number), failure)


def pictures_of(units: Iterable[Unit]) -> Iterator[Picture]:
    """Yield the pictures of units, in order; where one is damaged or out of reach, what is left of it fails."""
    return iter(Feed(enumerate(units), {}, Misses(0)))


class _OneFile:
    """A unit that is one file: once a picture in it is out of reach, the others are, for the same reason."""

    def __init__(self) -> None:
        self.unreached: UnreachableError | None = None

    def read(self, picture: Picture) -> Source:
        """Return a picture's bytes, unless it is known to be out of reach."""
        if self.unreached is None:
            try:
                return picture.read()
            except UnreachableError as error:
                self.unreached = self.unreached or error
        raise self.unreached


class Reader:
    """Reads pictures for the decoders."""

    def __init__(self, misses: Misses) -> None:
        """Take what counts pictures that cannot be reached."""
        self._misses = misses

    def __call__(self, picture: Picture) -> Source:
        """Return a picture's bytes. Raises `ImageError`; `InputError` to give up."""
        began = time.monotonic()
        try:
            found = picture.read()
            found = _read_listed(found) if isinstance(found, str) else found
        except UnreachableError as error:
            if self._misses.are_failures:
                raise ImageError(str(error)) from error
            self._misses.add(error)
            raise
        except ImageError:
            self._misses.clear(began)
            raise
        self._misses.clear(began)
        return found


def _read_listed(path: str) -> bytes:
    """Return the bytes of a file that was there when it was listed."""
    try:
        return read_file(path)
    except ImageError as error:
        cause = error.__context__
        if not isinstance(cause, OSError) or cause.errno not in _OUTAGES:
            raise
        if cause.errno == errno.ENOENT and not os.path.isdir(Path(path).parent):  # noqa: PTH112 - never raises
            error = ImageError(f"{path}: no such file, and its folder is gone: check the path and the disk")
        raise UnreachableError(str(error)) from cause


def read_ahead(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """Yield the items while a thread gets up to `count` of those to come."""
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(count)
    stop = threading.Event()

    def put(entry: tuple[T | None, BaseException | None]) -> bool:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
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
            if isinstance(end, StopIteration):
                return
            if end is not None:
                raise end
            yield item  # type: ignore[misc] # an entry without an end has an item
    finally:
        stop.set()
        thread.join()
