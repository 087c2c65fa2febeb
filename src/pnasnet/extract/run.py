"""From sources to a folder of features: what is left to do, done unit by unit, kept part by part."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..pictures import Picture, Unit
from ..pictures.storage import is_url
from .columns import Column
from .contents import Contents
from .embed import extract_columns
from .feed import AHEAD, Feed, Misses, Reader, read_ahead
from .keeper import Keeper
from .options import ExtractOptions
from .parts import COMPLETE, FeatureFolder, Progress, settings_hash
from .pipeline import Batch, Stages
from .sample import Sample
from .schema import VectorType

_EXAMPLES = 5
_MAY_DIFFER = ("pnasnet.version", "pnasnet.engine")  # which round differently at most


@dataclass
class Report:
    """What came of an extraction.

    Attributes:
        rows: how many rows this run has written.
        failed: how many rows are failures; once all is done, those that earlier runs had left among them.
        failed_before: how many of these earlier runs had left.
        kept: how many rows earlier runs had left.
        errors: what the first few failures were, a line each.
        vanished: how many inputs of the folder are not listed any more, where these were listed anew.
        unreached: why units are left to another run, a line each: they could not be reached, or not to their end.
        seconds: how long the run took.
        stages: what took them.
        sample: some of the pictures.
    """

    rows: int = 0
    failed: int = 0
    failed_before: int = 0
    kept: int = 0
    vanished: int = 0
    errors: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    seconds: float = 0.0
    stages: Stages = field(default_factory=Stages)
    sample: Sample = field(default_factory=Sample)

    def add(self, batch: Batch) -> None:
        """Count a batch's rows."""
        failures = [row.error for row in batch.rows if row.error is not None]
        self._count(len(batch.rows), len(failures), failures)

    def merge(self, other: "Report") -> None:
        """Count what another machine has done."""
        self._count(other.rows, other.failed, other.errors)
        self.unreached += other.unreached
        self.stages.add(other.stages)
        self.sample.merge(other.sample)

    def _count(self, rows: int, failed: int, errors: list[str]) -> None:
        self.rows += rows
        self.failed += failed
        self.errors += errors[: _EXAMPLES - len(self.errors)]


@dataclass(frozen=True)
class Sources:
    """What is extracted: the units, listed when they are needed, and the words that the user named them by."""

    units: Callable[[], Iterable[Unit]]
    names: Sequence[str]


class Listener:
    """Hears how a run goes; this one does not listen."""

    def begin(self, total: int | None, kept: int) -> None:
        """Take how many rows there will be, if that is known, and how many of them earlier runs have left."""

    def progress(self, rows: int) -> None:
        """Take how many rows are new. An exception raised here ends the run; what is done is kept."""


def extract_to_folder(
    sources: Sources,
    columns: Sequence[Column],
    folder: FeatureFolder,
    options: ExtractOptions,
    *,
    listener: Listener | None = None,
) -> Report:
    """Write the vectors of all pictures to a folder of parts, or go on with what is left of it.

    The caller holds the folder's lock, and has checked its settings.

    Raises:
        OutputError: the folder cannot be written to. InputError: a source is not there, or cannot be reached any more.
    """
    started = time.perf_counter()
    listener = listener or Listener()
    report, known = begin_run(sources, folder, listener)
    fill_folder(folder, enumerate(folder.inputs()), known, columns, options, report, listener)
    report.seconds = time.perf_counter() - started
    return report


def begin_run(sources: Sources, folder: FeatureFolder, listener: Listener) -> tuple[Report, dict[int, Progress]]:
    """List the inputs, unless that is done; return a report of no rows yet, and how far each unit has come."""
    folder.remove_leftovers()
    folder.list_inputs(sources.units())
    known = folder.resume()
    report = Report(kept=sum(progress.rows for progress in known.values()))
    listener.begin(_total(folder.inputs(), known), report.kept)
    return report, known


def fill_folder(
    folder: FeatureFolder,
    units: Iterable[tuple[int, Unit]],
    known: Mapping[int, Progress],
    columns: Sequence[Column],
    options: ExtractOptions,
    report: Report,
    listener: Listener | None = None,
    *,
    part_seconds: float | None = None,
) -> None:
    """Write what is left of some units, and count it in `report`.

    Args:
        folder: where to.
        units: with their numbers.
        known: how far each of them has come.
        columns: which vectors.
        options: how they are made.
        report: where to count.
        listener: hears of the rows.
        part_seconds: after how long a part is written, however little there is.
    """
    listener = listener or Listener()
    misses = Misses(options.give_up)
    feed, reader = Feed(units, known, misses), Reader(misses)
    contents = Contents(folder) if options.deduplicate else None
    keeper = Keeper(folder, VectorType.of(columns), feed, part_seconds, contents)
    pictures = read_ahead(feed, AHEAD)
    batches = extract_columns(pictures, reader, _name, columns, options, report.stages, report.sample.offer, contents)
    with closing(pictures), closing(batches), closing(contents) if contents else nullcontext():
        try:
            for batch in batches:
                keeper.add(batch)
                report.add(batch)
                listener.progress(len(batch.rows))
            keeper.finish()
        finally:
            keeper.flush()
            report.stages.writing += keeper.seconds
            report.unreached += keeper.unreached


def settings_of(sources: Sources, columns: Sequence[Column]) -> dict[str, Any]:
    """Return what has to be equal for a run to go on with what another one has left."""
    said = {column.name: column.metadata() for column in columns}
    return {
        "sources": [name if is_url(name) else name.rstrip("/") or "/" for name in sources.names],  # as tab completes
        **{
            f"{name}.{key.removeprefix('pnasnet.')}": value
            for name, metadata in said.items()
            for key, value in metadata.items()
            if key not in _MAY_DIFFER
        },
    }


def mark_complete(folder: FeatureFolder, settings: dict[str, Any], rows: int, failed: int) -> None:
    """Say that everything is there."""
    folder.write_json(COMPLETE, {"rows": rows, "failed": failed, "settings_sha256": settings_hash(settings)})


def _total(units: Iterator[Unit], known: dict[int, Progress]) -> int | None:
    """Return how many rows there will be, or None where that would mean to open every shard."""
    total = 0
    for number, unit in enumerate(units):
        size = known[number].rows if number in known and known[number].covers(unit) else unit.size
        if size is None:
            return None
        total += size
    return total


def _name(picture: Picture) -> str:
    return picture.name
