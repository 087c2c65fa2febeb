"""Writes the rows of a run as parts, often enough that little work is lost if the run is killed."""

import time
from collections.abc import Sequence
from itertools import groupby

import pyarrow as pa

from .contents import Contents
from .feed import Place
from .folder import FeatureFolder
from .part import Part
from .pipeline import Batch, Row
from .schema import FeatureSchema, nbytes

PART_BYTES = 32 << 20
"""Size of the pending rows, before encoding, from which they are written."""
PART_SECONDS = 60.0
"""Time after which pending rows are written, however few."""


class Keeper:
    """Collects batches and writes them: new rows as new parts, recomputed rows into the parts that they belong to.

    Attributes:
        seconds: time spent writing.
    """

    def __init__(
        self, folder: FeatureFolder, schema: FeatureSchema, contents: Contents | None, part_seconds: float | None = None
    ) -> None:
        self._folder, self._schema, self._contents = folder, schema, contents
        self._part_seconds = PART_SECONDS if part_seconds is None else part_seconds
        self._batches: list[Batch] = []  # pending rows, all of one part
        self._places: list[Place] = []
        self._written = time.monotonic()
        self.seconds = 0.0

    def add(self, batch: Batch, places: Sequence[Place]) -> None:
        """Add a batch, with the place of each row. Raises `OutputError` if rows cannot be written."""
        start = 0
        for part, group in groupby(places, _part_of):
            own = list(group)
            if self._places and _part_of(self._places[-1]) != part:
                self.flush()
            self._batches.append(batch.slice(start, start + len(own)))
            self._places += own
            start += len(own)
        if nbytes(self._batches) >= PART_BYTES or time.monotonic() - self._written >= self._part_seconds:
            self.flush()

    def flush(self) -> None:
        """Write the pending rows."""
        started, self._written = time.perf_counter(), time.monotonic()
        batches, places = self._batches, self._places
        self._batches, self._places = [], []
        if batches:
            self._write(places, [row for batch in batches for row in batch.rows], self._schema.table(batches))
            self.seconds += time.perf_counter() - started

    def _write(self, places: list[Place], rows: list[Row], table: pa.Table) -> None:
        first, last = places[0], places[-1]
        if first.part is None:
            unreachable = sum(row.unreachable for row in rows)
            part = Part(first.unit, first.row, len(rows), last.last, last.rest, unreachable)
            self._folder.write_part(part, table)
        else:
            part = first.part
            self._folder.replace_rows(part, [place.row for place in places], table)
        if self._contents:
            pairs = zip(rows, places, strict=True)
            self._contents.keep(part.name, ((row.digest, at.row - part.first) for row, at in pairs if not row.error))


def _part_of(place: Place) -> tuple[int, bool, Part | None]:
    """Return a key that is equal for places that belong in one part."""
    return place.unit, place.rest, place.part
