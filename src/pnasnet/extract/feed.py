"""The pictures of many units as one stream, read ahead by a thread, and where in it each unit ends."""

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..errors import ImageError, InputError
from ..images import Source
from .parts import Progress
from .sources import Picture, Unit, UnreachableError

T = TypeVar("T")

_TRIES = 3

AHEAD = 32
"""How many pictures are read ahead from shards that can only be read from one end to the other."""


class Feed:
    """Yields the pictures that are left to do.

    Attributes:
        starts: units in the order in which they begin, each with the number of its first picture that is left to do.
        ends: the rows of the stream before which a unit ends; known before the row that follows is yielded.
    """

    def __init__(self, units: Iterable[tuple[int, Unit]], known: Mapping[int, Progress]) -> None:
        """Take the units with their numbers, and how far each has come."""
        self._units, self._known = units, known
        self.starts: deque[tuple[int, int]] = deque()
        self.ends: deque[int] = deque()
        self._row = 0

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures; what keeps a unit from being read is a picture that fails."""
        for number, unit in self._units:
            progress = self._known.get(number, Progress())
            if progress.covers(unit):
                continue
            self.starts.append((number, progress.rows))
            yield from self._unit(unit, progress.rows)

    def _unit(self, unit: Unit, start: int) -> Iterator[Picture]:
        done = start
        failure: ImageError | None = None
        for turn in range(_TRIES):
            try:
                for picture in unit.pictures(done):
                    done += 1
                    self._row += 1
                    yield picture
                break
            except UnreachableError as error:  # a shard's server may break off, and serve the rest when asked again
                failure = error if turn == _TRIES - 1 else None
            except ImageError as error:
                failure = error
                break
        if done == 0 and failure is None:
            failure = ImageError(f"{unit.name}: holds no picture")
        self._row += failure is not None
        self.ends.append(self._row)  # before the failure is yielded: with it the unit is over
        if failure is not None:
            yield Picture(unit.name, partial(_raise, failure))


def _raise(failure: ImageError) -> Source:
    raise failure


class Reader:
    """Reads pictures for the decoders, and gives up where nothing is to be reached any more."""

    def __init__(self, give_up: int) -> None:
        """Give up after so many pictures in a row that cannot be reached; 0 never gives up."""
        self._give_up = give_up
        self._missed: list[str] = []
        self._lock = threading.Lock()

    @property
    def missed(self) -> frozenset[str]:
        """The names of the pictures that could not be reached just now, one after the other."""
        return frozenset(self._missed)

    def __call__(self, picture: Picture) -> Source:
        """Return a picture's bytes or path. Raises `ImageError`; `InputError` to give up."""
        try:
            found = picture.read()
            if isinstance(found, str) and not Path(found).parent.is_dir():
                raise UnreachableError(f"{found}: no such file, and its folder is gone: check the path and the disk")
        except UnreachableError as error:
            with self._lock:
                self._missed.append(picture.name)
                if 0 < self._give_up <= len(self._missed):
                    raise InputError(
                        f"{self._give_up} pictures one after the other cannot be reached, the last one because "
                        f"of {error}"
                    ) from error
            raise
        with self._lock:
            self._missed.clear()
        return found


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
