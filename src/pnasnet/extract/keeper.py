"""The rows of a run, cut where units end and written as parts before a kill could cost much."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from .contents import Contents
from .feed import Feed
from .parts import FeatureFolder, Part
from .pipeline import Batch
from .schema import VectorType, nbytes

PART_BYTES = 32 << 20
"""The size of a part before encoding, at most by a batch more."""
PART_SECONDS = 60.0
"""After how long what has been computed is written, however little it is."""


@dataclass
class _Open:
    """The unit whose rows are coming.

    Attributes:
        unit: its number.
        next: the number of its next row.
        is_one_file: whether where one of its pictures is out of reach the others are.
        unreached: why its next row and those after it are out of reach, if they are.
    """

    unit: int
    next: int
    is_one_file: bool
    unreached: str | None = None


class Keeper:
    """Takes batches in the order of a feed, and writes them to a folder.

    A row of a picture that could not be reached is not written, and what follows it neither, before the reading of
    another has begun later that could be reached: until then all of them may be out of reach, and are left to another
    run. A unit that is one file is left to it from the first on.
    """

    def __init__(
        self,
        folder: FeatureFolder,
        vectors: VectorType,
        feed: Feed,
        part_seconds: float | None = None,
        contents: Contents | None = None,
    ) -> None:
        """Write to `folder` what comes of `feed`, each part after so many seconds at most; tell `contents` of it."""
        self._contents = contents
        self._folder, self._vectors, self._feed = folder, vectors, feed
        self._part_seconds = PART_SECONDS if part_seconds is None else part_seconds
        self._pending: list[Batch] = []
        self._waiting: deque[tuple[Part, list[Batch]]] = deque()  # the last rows of units that are over
        self._open: _Open | None = None
        self._row = 0  # of the stream
        self._written = time.monotonic()
        self.seconds = 0.0
        """Spent on writing."""
        self.unreached: list[str] = []
        """Why units are left to another run, a line each."""

    def add(self, batch: Batch) -> None:
        """Take the next rows. Raises `OutputError` where they cannot be written."""
        start = 0
        while start < len(batch.rows):
            self._close_ended()
            room = self._feed.ends[0].row - self._row if self._feed.ends else len(batch.rows)
            stop = min(len(batch.rows), start + room)
            self._take(_slice(batch, start, stop))
            self._row += stop - start
            start = stop
        self._close_ended()
        if nbytes(self._pending) >= PART_BYTES or time.monotonic() - self._written >= self._part_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, but for rows that wait."""
        self._write(last=False)

    def finish(self) -> None:
        """Write all there is: nothing more will come."""
        self._close_ended()
        self._write_waiting(all_of_it=True)

    def _take(self, batch: Batch) -> None:
        """Take rows of the open unit."""
        self._write_waiting()
        if self._open is not None and self._open.is_one_file:
            batch = self._within_reach(batch, self._open)
        if batch.rows:
            self._pending.append(batch)

    def _within_reach(self, batch: Batch, unit: _Open) -> Batch:
        """Return the rows before the first that could not be reached."""
        if unit.unreached is not None:
            return _slice(batch, 0, 0)
        for place, row in enumerate(batch.rows):
            if row.missed is not None:
                unit.unreached = row.error
                return _slice(batch, 0, place)
        return batch

    def _close_ended(self) -> None:
        while self._feed.ends and self._feed.ends[0].row <= self._row:
            self._begin()
            unreached = self._feed.ends.popleft().unreached
            if self._open is not None:
                unreached = unreached or self._open.unreached
            self._write(last=unreached is None)
            if unreached is not None:
                self.unreached.append(unreached)
                self._pending = []
            self._open = None
        self._begin()

    def _begin(self) -> None:
        if self._open is None and self._feed.starts:
            start = self._feed.starts.popleft()
            self._open = _Open(start.unit, start.first, start.is_one_file)

    def _write(self, *, last: bool) -> None:
        """Write what is pending of the open unit, but for the rows that wait."""
        self._written = time.monotonic()
        if self._open is None:
            return
        kept = _settled(self._pending, self._feed.reached)
        ready, waiting = _split(self._pending, kept)
        if ready:
            part = Part(self._open.unit, self._open.next, kept, last and not waiting)
            self._write_part(part, ready)
            self._open.next += kept
        self._pending = waiting
        if last and waiting:
            rows = sum(len(batch.rows) for batch in waiting)
            self._waiting.append((Part(self._open.unit, self._open.next, rows, last), waiting))
            self._pending = []

    def _write_waiting(self, *, all_of_it: bool = False) -> None:
        while self._waiting:
            part, batches = self._waiting[0]
            if not all_of_it and _settled(batches, self._feed.reached) < part.rows:
                return
            self._write_part(part, batches)
            self._waiting.popleft()

    def _write_part(self, part: Part, batches: list[Batch]) -> None:
        started = time.perf_counter()
        self._folder.write_part(part, self._vectors.table(batches), self._vectors)
        if self._contents:
            self._contents.keep(part, [row for batch in batches for row in batch.rows])
        self.seconds += time.perf_counter() - started


def _settled(batches: Sequence[Batch], reached: float) -> int:
    """Return how many rows there are before the first that nothing was reached after."""
    rows = (row for batch in batches for row in batch.rows)
    return sum(1 for _ in takewhile(lambda row: row.missed is None or row.missed < reached, rows))


def _split(batches: Sequence[Batch], count: int) -> tuple[list[Batch], list[Batch]]:
    """Return the first `count` rows, and the others."""
    first, others = [], []
    for batch in batches:
        stop = max(0, min(count, len(batch.rows)))
        first.append(_slice(batch, 0, stop))
        others.append(_slice(batch, stop, len(batch.rows)))
        count -= stop
    return [batch for batch in first if batch.rows], [batch for batch in others if batch.rows]


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    """Return some rows of a batch, with their vectors."""
    if (start, stop) == (0, len(batch.rows)):
        return batch
    first = sum(row.error is None for row in batch.rows[:start])
    count = sum(row.error is None for row in batch.rows[start:stop])
    return Batch(batch.rows[start:stop], {name: v[first : first + count] for name, v in batch.columns.items()})
