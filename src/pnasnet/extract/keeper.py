"""The rows of a run, cut where units end and written as parts before a kill could cost much."""

import time
from dataclasses import dataclass

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
    """The unit whose rows are coming: its number, and the number of its next row."""

    unit: int
    next: int


class Keeper:
    """Takes batches in the order of a feed, and writes them to a folder."""

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
        self._open: _Open | None = None
        self._row = 0  # of the stream
        self._written = time.monotonic()
        self.seconds = 0.0
        """Spent on writing."""

    def add(self, batch: Batch) -> None:
        """Take the next rows. Raises `OutputError` where they cannot be written."""
        start = 0
        while start < len(batch.rows):
            self._close_ended()
            room = self._feed.ends[0] - self._row if self._feed.ends else len(batch.rows)
            stop = min(len(batch.rows), start + room)
            self._pending.append(_slice(batch, start, stop))
            self._row += stop - start
            start = stop
        self._close_ended()
        if nbytes(self._pending) >= PART_BYTES or time.monotonic() - self._written >= self._part_seconds:
            self.flush()

    def flush(self, *, without: frozenset[str] = frozenset()) -> None:
        """Write what is pending, but for the last rows if their pictures are among `without`."""
        while self._pending and without:
            last = self._pending[-1]
            kept = len(last.rows)
            while kept and last.rows[kept - 1].error is not None and last.rows[kept - 1].path in without:
                kept -= 1
            self._pending[-1:] = [_slice(last, 0, kept)] if kept else []
            if kept:
                break
        self._write(last=False)

    def _close_ended(self) -> None:
        while self._feed.ends and self._feed.ends[0] <= self._row:
            self._feed.ends.popleft()
            self._write(last=True)
            self._open = None
            self._begin()

    def _begin(self) -> None:
        if self._open is None and self._feed.starts:
            self._open = _Open(*self._feed.starts.popleft())

    def _write(self, *, last: bool) -> None:
        self._begin()
        rows = sum(len(batch.rows) for batch in self._pending)
        self._written = time.monotonic()
        if not rows or self._open is None:
            return
        started = time.perf_counter()
        part = Part(self._open.unit, self._open.next, rows, last)
        self._folder.write_part(part, self._vectors.table(self._pending), self._vectors)
        if self._contents:
            self._contents.keep(part, [row for batch in self._pending for row in batch.rows])
        self._pending = []
        self._open.next += rows
        self.seconds += time.perf_counter() - started


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    """Return some rows of a batch, with their vectors."""
    if (start, stop) == (0, len(batch.rows)):
        return batch
    first = sum(row.error is None for row in batch.rows[:start])
    count = sum(row.error is None for row in batch.rows[start:stop])
    return Batch(batch.rows[start:stop], {name: v[first : first + count] for name, v in batch.columns.items()})
