"""Fill a folder of features: compute its missing rows, in the order of its inputs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..pictures import PassedOver, Picture, Unit
from ..support.urls import is_url, redact
from .columns import Column
from .contents import Contents
from .embed import extract_columns
from .feed import Place, feed, read_ahead
from .folder import FORMAT, FeatureFolder, Kept
from .keeper import Keeper
from .options import ExtractOptions
from .pipeline import Batch, Stages
from .sample import Sample
from .schema import FeatureSchema

_EXAMPLES = 5
_MAY_DIFFER = ("pnasnet.version", "pnasnet.engine")  # these affect rounding only


@dataclass
class Report:
    """The result of an extraction, or what is known of it so far.

    Attributes:
        rows: rows that this run computed.
        kept: rows of earlier runs.
        failed: rows with the status `error`; at the end of a run, including those of earlier runs.
        failed_before: failed rows of earlier runs.
        unreachable: rows with the status `unreachable`; the same command computes them again.
        unturned: rows of this run whose image has an EXIF orientation that was not applied.
        unturned_examples: the paths of the first few such images.
        vanished: known inputs of the folder that are missing in a new listing.
        passed_over: files skipped while the sources were listed, and in archives that were read to the end.
        errors: the first few errors, one line each.
        outage: the error of the last unreachable row.
        seconds: duration of the run.
        stages: seconds spent in each stage.
        sample: a sample of the images.

    Example:
        >>> from pnasnet.extract import Report
        >>> Report(rows=3, failed=1).failed
        1
        >>> from pnasnet import Module
        >>> from pnasnet.extract import extract, find_named
        >>> report = Report()
        >>> for batch in extract(Module("pnasnet_tiny"), find_named(["photos/coffee.jpg"])):
        ...     report.add(batch)
        >>> report.merge(Report(rows=3, failed=1))
        >>> report.rows, report.failed
        (4, 1)
    """

    rows: int = 0
    kept: int = 0
    failed: int = 0
    failed_before: int = 0
    unreachable: int = 0
    unturned: int = 0
    unturned_examples: list[str] = field(default_factory=list)
    vanished: int = 0
    passed_over: PassedOver = field(default_factory=PassedOver)
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
        self._count_unturned([row.path for row in batch.rows if row.unturned])

    def merge(self, other: "Report") -> None:
        """Add the report of another worker."""
        self._count(other.rows, other.failed, other.errors, other.unreachable, other.outage)
        self._count_unturned(other.unturned_examples, other.unturned)
        self.passed_over.merge(other.passed_over)
        self.stages.add(other.stages)
        self.sample.merge(other.sample)

    def _count_unturned(self, paths: Sequence[str], count: int | None = None) -> None:
        self.unturned += len(paths) if count is None else count
        self.unturned_examples += paths[: _EXAMPLES - len(self.unturned_examples)]

    def _count(self, rows: int, failed: int, errors: Sequence[str], unreachable: int, outage: str | None) -> None:
        self.rows += rows
        self.failed += failed
        self.errors += errors[: _EXAMPLES - len(self.errors)]
        self.unreachable += unreachable
        self.outage = outage or self.outage


@dataclass(frozen=True)
class Sources:
    """The images to extract.

    Attributes:
        units: lists the units of images; called when needed.
        names: the sources as the user named them.
        passed_over: counts the files that the listing skips.

    Example:
        >>> from functools import partial
        >>> from pnasnet.extract import Sources, list_units
        >>> sources = Sources(partial(list_units, ["photos"]), names=["photos"])
        >>> sum(len(list(unit.pictures())) for unit in sources.units())
        4
    """

    units: Callable[[], Iterable[Unit]]
    names: Sequence[str]
    passed_over: PassedOver = field(default_factory=PassedOver)


def fill_here(
    folder: FeatureFolder,
    units: Iterable[tuple[int, Unit]],
    kept: Mapping[int, Kept],
    options: ExtractOptions,
    report: Report,
    advance: Callable[[int], object] = lambda rows: None,
    *,
    columns: Sequence[Column],
    part_seconds: float | None = None,
) -> None:
    """Compute the missing rows of units on this machine, write them to the folder, and count them in `report`.

    Args:
        folder: the folder, which the caller has opened.
        units: the units with their numbers.
        kept: the rows that the folder holds of each unit, by its number.
        options: how the vectors are computed.
        report: counts the rows.
        advance: called with the number of new rows; if it raises an exception, the run ends, and its rows are kept.
        columns: the columns of vectors.
        part_seconds: time after which pending rows are written, however few; None for `keeper.PART_SECONDS`.

    Raises:
        OutputError: the folder cannot be written to.
        InputError: `options.give_up` consecutive images or shards cannot be reached.
    """
    contents = Contents(folder) if options.deduplicate else None
    keeper = Keeper(folder, FeatureSchema.of(columns), contents, part_seconds)
    places, in_sequence, outages_fail = deque[Place](), 0, not options.give_up

    def pictures() -> Iterator[Picture]:
        for picture, place in feed(units, kept, outages_fail=outages_fail, passed_over=report.passed_over):
            places.append(place)
            yield picture

    ahead, watch = read_ahead(pictures()), report.sample.offer
    batches = extract_columns(ahead, columns, options, report.stages, watch, contents, outages_fail=outages_fail)
    with closing(ahead), closing(batches), closing(contents) if contents else nullcontext():
        try:
            for batch in batches:
                keeper.add(batch, [places.popleft() for _ in batch.rows])
                report.add(batch)
                advance(len(batch.rows))
                in_sequence = _check_outage(batch, in_sequence, options.give_up)
        finally:
            keeper.flush()
            report.stages.writing += keeper.seconds


Fill = Callable[
    [
        FeatureFolder,
        Iterable[tuple[int, Unit]],
        Mapping[int, Kept],
        ExtractOptions,
        Report,
        Callable[[int], object],
    ],
    object,
]
"""Computes the missing rows of a folder: `fill_here` with its columns, or `fill_on_ray` on a cluster."""


def _check_outage(batch: Batch, count: int, give_up: int) -> int:
    """Return how many unreachable rows end the batch; `count` precede it. Raises `InputError` at the limit."""
    for row in batch.rows:
        count = count + 1 if row.unreachable else 0
        if 0 < give_up <= count:
            raise InputError(
                f"{count} images or shards in sequence cannot be reached, such as {row.error}; repeat the command to "
                "try again, or record them as failed (--give-up 0)"
            )
    return count


def settings_of(sources: Sources, columns: Sequence[Column]) -> dict[str, Any]:
    """Return the settings that a resumed run must share: the sources, and everything that determines the vectors.

    URLs are stored without credentials, so a rotated signature is the same source. Trailing slashes are ignored.
    """
    metadata_of = {column.name: column.metadata() for column in columns}
    return {
        "format": FORMAT,
        "sources": [redact(name) if is_url(name) else name.rstrip("/") or "/" for name in sources.names],
        **{
            f"{name}.{key.removeprefix('pnasnet.')}": value
            for name, metadata in metadata_of.items()
            for key, value in metadata.items()
            if key not in _MAY_DIFFER
        },
    }


def count_rows(units: Iterable[Unit], kept: Mapping[int, Kept]) -> int | None:
    """Return the number of rows of the complete folder; None if it is unknown before all shards are opened."""
    total = 0
    for number, unit in enumerate(units):
        known = kept.get(number, Kept())
        size = known.rows if known.has_all(unit) else unit.size
        if size is None:
            return None
        total += size
    return total
