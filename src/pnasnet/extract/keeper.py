"""The rows of a run, written as parts before a kill could cost much."""

import time
from itertools import groupby

import pyarrow as pa

from .contents import Contents
from .feed import Place
from .folder import FeatureFolder
from .part import Part
from .pipeline import Batch
from .schema import FeatureSchema, nbytes

PART_BYTES = 32 << 20
"""The size of a part before encoding; at most one batch more."""
PART_SECONDS = 60.0
"""After this time rows are written, however few they are."""


class Keeper:
    """Collects batches with a `Place` for each row, and writes them: new rows as parts, others into their parts.

    Attributes:
        seconds: time spent writing.
    """

    def __init__(
        self, folder: FeatureFolder, schema: FeatureSchema, contents: Contents | None, part_seconds: float | None = None
    ) -> None:
        self._folder, self._schema, self._contents = folder, schema, contents
        self._part_seconds = PART_SECONDS if part_seconds is None else part_seconds
        self._pending: list[Batch] = []  # rows of one part
        self._written = time.monotonic()
        self.seconds = 0.0

    def add(self, batch: Batch) -> None:
        """Add the next rows. Raises `OutputError` if they cannot be written."""
        start = 0
        for _, group in groupby(batch.places, _part_of):
            stop = start + len(list(group))
            piece = batch.slice(start, stop)
            if self._pending and _part_of(self._pending[-1].places[-1]) != _part_of(piece.places[0]):
                self.flush()
            self._pending.append(piece)
            start = stop
        if nbytes(self._pending) >= PART_BYTES or time.monotonic() - self._written >= self._part_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        started, self._written = time.perf_counter(), time.monotonic()
        batches, self._pending = self._pending, []
        if batches:
            places: list[Place] = [place for batch in batches for place in batch.places]
            self._write(places, batches, self._schema.table(batches))
            self.seconds += time.perf_counter() - started

    def _write(self, places: list[Place], batches: list[Batch], table: pa.Table) -> None:
        rows = [row for batch in batches for row in batch.rows]
        unreachable = sum(row.unreachable for row in rows)
        first, last = places[0], places[-1]
        if first.part is None:
            part = Part(first.unit, first.row, len(rows), last.last, last.rest, unreachable)
            self._folder.write_part(part, table)
        else:
            part = first.part
            self._folder.replace_rows(part, [place.row for place in places], table)
        if self._contents:
            found = [
                (row.digest, place.row - part.first) for row, place in zip(rows, places, strict=True) if not row.error
            ]
            self._contents.keep(part.name, found)


def _part_of(place: Place) -> tuple[int, bool, Part | None]:
    """Return what differs between places in different parts."""
    return place.unit, place.rest, place.part
