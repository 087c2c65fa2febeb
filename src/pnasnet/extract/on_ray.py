"""Extraction on a Ray cluster: Ray Data hands units to workers, each of which runs the pipeline of one machine.

    units ─► Ray Data ─► workers, each with its own networks ─► parts in a folder that all machines reach

A worker writes the rows of a unit itself, and returns a report. If it dies, Ray starts another one, which resumes the
unit. The size alone decides where a part ends: if a worker that counts as dead still runs, both write the same bytes.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, PnasnetError
from ..pictures import Unit
from ..support.cluster import LOCAL, cluster, is_client
from ..support.typed import convert_fields
from .columns import Column
from .folder import FeatureFolder, Kept
from .options import ExtractOptions
from .run import Report, fill_here

BuildColumns = Callable[[], Sequence[Column]]
"""Opens the networks on the machine where it is called. Must be picklable."""


@dataclass(frozen=True)
class RayOptions:
    """The cluster to use, and its workers. Raises `InputError` for values of another type or out of range.

    Attributes:
        address: `local`, `auto`, `host:port` or `ray://host:port`.
        workers: number of workers, each with its own networks; None for as many as fit.
        cpus: processors of each worker.
        gpus: GPUs of each worker.
    """

    address: str = LOCAL
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        convert_fields(self, workers=1, cpus=1, gpus=0)


def fill_on_ray(
    folder: FeatureFolder,
    units: Iterable[tuple[int, Unit]],
    kept: Mapping[int, Kept],
    options: ExtractOptions,
    report: Report,
    advance: Callable[[int], object] = lambda rows: None,
    *,
    build: BuildColumns,
    ray_options: RayOptions,
    retry_errors: bool = False,
) -> None:
    """Compute the missing rows of units as `fill_here` does, on a cluster that reaches the folder and the sources.

    Args:
        folder, units, kept, options, report: as for `fill_here`.
        advance: called with the number of rows of each finished unit.
        build: builds the columns on a worker's machine.
        ray_options: the cluster, and its workers.
        retry_errors: whether failed rows are computed again; as for the `FeatureFolder.kept` that returned `kept`.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: no cluster answers, it has no room for a worker, or `options.deduplicate` is set.
        PnasnetError: Ray or a worker failed.
    """
    if options.deduplicate:
        raise InputError("deduplication needs one machine: leave out --deduplicate or the cluster")
    jobs = [
        {"unit": number, "values": unit.to_dict()}
        for number, unit in units
        if (known := kept.get(number, Kept())).again or not known.has_all(unit)
    ]
    if jobs:
        with cluster(ray_options.address, "extraction on a cluster") as ray:
            workers = min(ray_options.workers or _room(ray.cluster_resources(), ray_options), len(jobs))
            results = _results_for_client if is_client(ray_options.address) else _results
            settings = {
                "build": build,
                "folder": str(folder.path.absolute()),
                "options": options,
                "directory": str(Path.cwd()),
                "retry_errors": retry_errors,
            }
            for unit_report in results(jobs, settings, ray_options, workers):
                report.merge(unit_report)
                advance(unit_report.rows)


def check_cluster(options: RayOptions) -> None:
    """Raise `InputError` if no cluster answers, and `MissingExtraError` without Ray."""
    if options.address != LOCAL:
        with cluster(options.address, "extraction on a cluster"):
            pass


def _room(resources: Mapping[str, float], options: RayOptions) -> int:
    """Return the number of workers that fit on the cluster. Raises `InputError` if none does."""
    room = resources.get("CPU", 0) // options.cpus
    if options.gpus:
        room = min(room, resources.get("GPU", 0) // options.gpus)
    if room < 1:
        raise InputError(f"the cluster has no room for a worker of {options.cpus} processors and {options.gpus:g} GPUs")
    return int(room)


def _results(
    jobs: list[dict[str, Any]], settings: dict[str, Any], options: RayOptions, workers: int
) -> Iterator[Report]:
    """Yield the report of each unit when it is finished."""
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    done = ray.data.from_items(jobs, override_num_blocks=len(jobs)).map_batches(
        _ExtractActor,
        fn_constructor_kwargs=settings,
        batch_size=1,
        num_cpus=options.cpus,
        num_gpus=options.gpus or None,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    try:
        for row in done.iter_rows():
            yield row["report"]
    except RayError as error:
        raise _own(error) from error


def _results_for_client(
    jobs: list[dict[str, Any]], settings: dict[str, Any], options: RayOptions, workers: int
) -> Iterator[Report]:
    """Do the same through a Ray client. Ray Data does not run in a client, so an actor on the cluster runs it."""
    import ray
    from ray.exceptions import RayError

    try:
        driver = ray.remote(num_cpus=0)(_Driver).remote(jobs, settings, options, workers)
        while (report := ray.get(driver.next.remote())) is not None:
            if isinstance(report, PnasnetError):
                raise report
            yield report
    except (RayError, ConnectionError) as error:
        raise _own(error) from error


class _Driver:
    """An actor that runs `_results` on the cluster, and returns the reports one by one."""

    def __init__(self, *arguments: Any) -> None:
        self._results = _results(*arguments)

    def next(self) -> Report | PnasnetError | None:
        """Return the report of the next unit, or the error that ended the run; None after the last."""
        try:
            return next(self._results, None)
        except PnasnetError as error:
            return error


def _own(error: BaseException) -> BaseException:
    """Return the `PnasnetError` that ended a worker; if there is none, one with the last line of Ray's message."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PnasnetError):
            return type(cause)(*cause.args)
        cause = getattr(cause, "cause", None) or cause.__cause__
    return PnasnetError(f"Ray: {str(error).strip().splitlines()[-1]}")


class _ExtractActor:
    """An actor that opens the networks once and then extracts units."""

    def __init__(
        self, build: BuildColumns, folder: str, options: ExtractOptions, directory: str, retry_errors: bool
    ) -> None:
        enter(directory)
        self._columns, self._folder, self._options = build(), FeatureFolder(folder), options
        self._retry_errors = retry_errors

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Report]]:
        jobs = zip(batch["unit"], batch["values"], strict=True)
        return {"report": [self._extract(int(unit), values) for unit, values in jobs]}

    def _extract(self, number: int, values: dict[str, Any]) -> Report:
        kept = self._folder.kept(number, retry_errors=self._retry_errors)
        report = Report()
        units = [(number, Unit.from_dict(values))]
        fill_here(self._folder, units, kept, self._options, report, columns=self._columns, part_seconds=math.inf)
        return report


def enter(directory: str) -> None:
    """Change to the command's working directory, so that workers resolve relative paths as the command does."""
    try:
        os.chdir(directory)
    except OSError:
        os.chdir(os.sep)  # relative paths must not resolve to files in another folder
