"""Fill a folder of features: whatever is left to compute, in the order of its inputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import InputError
from ..pictures import PassedOver, Unit
from ..support.urls import is_url, redact
from .columns import Column
from .contents import Contents
from .embed import extract_columns
from .feed import AHEAD, feed, read_ahead, read_or_fail, read_picture
from .folder import FORMAT, FeatureFolder, Kept
from .inputs import Inputs
from .keeper import Keeper
from .options import ExtractOptions
from .pipeline import Batch, Stages
from .sample import Sample
from .schema import FeatureSchema

_EXAMPLES = 5
_MAY_DIFFER = ("pnasnet.version", "pnasnet.engine")  # which affect rounding only


@dataclass
class Report:
    """The outcome of an extraction.

    Attributes:
        rows: rows that this run computed.
        kept: rows of earlier runs.
        failed: rows with the status `error`; at the end of a run, those of earlier runs included.
        failed_before: how many of these are from earlier runs.
        unreachable: rows with the status `unreachable`; the same command computes them again.
        unturned: rows of this run whose photo has an EXIF orientation that was not applied.
        vanished: inputs of the folder that are not listed any more, if they were listed again.
        passed_over: which files in folders were passed over, in one line; empty if none were, or nothing was listed.
        errors: the first few errors, one line each.
        outage: why the last unreachable row is unreachable.
        seconds: duration of the run.
        stages: time spent in each stage.
        sample: some of the pictures.
    """

    rows: int = 0
    kept: int = 0
    failed: int = 0
    failed_before: int = 0
    unreachable: int = 0
    unturned: int = 0
    vanished: int = 0
    passed_over: str = ""
    errors: list[str] = field(default_factory=list)
    outage: str | None = None
    seconds: float = 0.0
    stages: Stages = field(default_factory=Stages)
    sample: Sample = field(default_factory=Sample)

    def add(self, batch: Batch) -> None:
        """Count the rows of a batch."""
        failed = [row.error for row in batch.rows if row.error is not None and not row.unreachable]
        outages = [row.error for row in batch.rows if row.unreachable]
        self._count(len(batch.rows), len(failed), failed, len(outages), outages[-1] if outages else None)
        self.unturned += sum(row.unturned for row in batch.rows)

    def merge(self, other: "Report") -> None:
        """Count the rows of another machine."""
        self._count(other.rows, other.failed, other.errors, other.unreachable, other.outage)
        self.unturned += other.unturned
        self.stages.add(other.stages)
        self.sample.merge(other.sample)

    def _count(self, rows: int, failed: int, errors: Sequence[str], unreachable: int, outage: str | None) -> None:
        self.rows += rows
        self.failed += failed
        self.errors += errors[: _EXAMPLES - len(self.errors)]
        self.unreachable += unreachable
        self.outage = outage or self.outage


@dataclass(frozen=True)
class Sources:
    """The pictures to extract: a function that lists their units when needed, and the names that the user gave."""

    units: Callable[[], Iterable[Unit]]
    names: Sequence[str]
    passed_over: PassedOver = field(default_factory=PassedOver)
    """Counts the files that listing the units does not take."""


class Fill(Protocol):
    """Computes what is left of a folder's inputs: `fill_here` on this machine, `fill_on_ray` on a cluster."""

    def __call__(
        self,
        folder: FeatureFolder,
        kept: Mapping[int, Kept],
        columns: Sequence[Column],
        options: ExtractOptions,
        report: Report,
        advance: Callable[[int], object],
    ) -> object:
        """Write the rows, count them in `report`, and call `advance` with the number of new rows."""
        ...


def fill_here(
    folder: FeatureFolder,
    kept: Mapping[int, Kept],
    columns: Sequence[Column],
    options: ExtractOptions,
    report: Report,
    advance: Callable[[int], object] = lambda rows: None,
) -> None:
    """Compute what is left of all units. The arguments are those of `fill_units`."""
    fill_units(folder, enumerate(Inputs(folder)), kept, columns, options, report, advance)


def fill_units(
    folder: FeatureFolder,
    units: Iterable[tuple[int, Unit]],
    kept: Mapping[int, Kept],
    columns: Sequence[Column],
    options: ExtractOptions,
    report: Report,
    advance: Callable[[int], object] = lambda rows: None,
    *,
    part_seconds: float | None = None,
) -> None:
    """Compute what is left of some units, write it to the folder, and count it in `report`.

    Args:
        folder: the folder, which the caller has opened.
        units, kept: the units with their numbers, and what the folder holds of each.
        columns, options: which vectors, and how they are computed.
        report: counts the rows.
        advance: called with the number of new rows; an exception that it raises ends the run, and the rows are kept.
        part_seconds: time after which a part is written, however few its rows are.

    Raises:
        OutputError: the folder cannot be written to.
        InputError: `options.give_up` rows in sequence cannot be reached.
    """
    contents = Contents(folder) if options.deduplicate else None
    keeper = Keeper(folder, FeatureSchema.of(columns), contents, part_seconds)
    pictures = read_ahead(feed(units, kept, outages_fail=not options.give_up), AHEAD)
    batches = extract_columns(
        pictures,
        lambda placed: (read_picture if options.give_up else read_or_fail)(placed.picture),
        lambda placed: placed.name,
        columns,
        options,
        report.stages,
        lambda placed, prepared: report.sample.offer(placed.picture, prepared),
        contents,
        lambda placed: placed.place,
    )
    outage = _Outage(options.give_up)
    with closing(pictures), closing(batches), closing(contents) if contents else nullcontext():
        try:
            for batch in batches:
                keeper.add(batch)
                report.add(batch)
                advance(len(batch.rows))
                outage.check(batch)
        finally:
            keeper.flush()
            report.stages.writing += keeper.seconds


class _Outage:
    """Counts unreachable rows in sequence."""

    def __init__(self, give_up: int) -> None:
        self._give_up, self._count = give_up, 0

    def check(self, batch: Batch) -> None:
        """Raise `InputError` if too many rows in sequence were unreachable."""
        for row in batch.rows:
            self._count = self._count + 1 if row.unreachable else 0
            if 0 < self._give_up <= self._count:
                raise InputError(
                    f"{self._count} photos or shards in sequence cannot be reached, such as {row.error}; repeat the "
                    "command to try again, or pass --give-up 0 to record them as failed"
                )


def settings_of(sources: Sources, columns: Sequence[Column]) -> dict[str, Any]:
    """Return the settings that a resumed run must share: the sources, and everything that determines the vectors.

    Without credentials: a rotated signature does not make another source. Slashes at the end do not count.
    """
    stated = {column.name: column.metadata() for column in columns}
    return {
        "format": FORMAT,
        "sources": [redact(name) if is_url(name) else name.rstrip("/") or "/" for name in sources.names],
        **{
            f"{name}.{key.removeprefix('pnasnet.')}": value
            for name, metadata in stated.items()
            for key, value in metadata.items()
            if key not in _MAY_DIFFER
        },
    }


def count_rows(units: Iterable[Unit], kept: Mapping[int, Kept]) -> int | None:
    """Return how many rows there will be; None if only opening every shard would tell."""
    total = 0
    for number, unit in enumerate(units):
        known = kept.get(number, Kept())
        size = known.rows if known.has_all(unit) else unit.size
        if size is None:
            return None
        total += size
    return total
