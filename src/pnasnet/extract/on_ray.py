"""Extraction on a Ray cluster: Ray Data hands units to workers, each of which runs the pipeline of one machine.

    units ─► Ray Data ─► workers, each with its own networks ─► parts in a folder that all can reach

A worker keeps a unit's rows as a single machine does, and says only how many they are. One that dies is replaced by
Ray, and the new one goes on with the unit's parts. Parts are cut by size alone here, so that two who write the same
part, such as one that was taken for dead, write the same thing.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, PnasnetError
from ..pictures import Unit
from ..support.cluster import LOCAL, cluster, is_client
from .columns import Column
from .options import ExtractOptions
from .parts import FeatureFolder, Progress
from .run import Listener, Report, Sources, begin_run, fill_folder

BuildColumns = Callable[[], Sequence[Column]]
"""Opens the networks, on whichever machine it is called. Has to be pickled."""


@dataclass(frozen=True)
class RayOptions:
    """How a cluster is used.

    Attributes:
        address: `local`, `auto`, `host:port` or `ray://host:port`.
        workers: how many workers, each with its own networks; None for as many as there is room for.
        cpus: processors for each.
        gpus: GPUs for each.
    """

    address: str = LOCAL
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.cpus < 1 or self.gpus < 0 or (self.workers is not None and self.workers < 1):
            raise InputError(f"a cluster needs at least one worker with one processor: {self}")


def extract_on_ray(
    sources: Sources,
    columns: Sequence[Column],
    folder: FeatureFolder,
    options: ExtractOptions,
    *,
    build: BuildColumns,
    ray_options: RayOptions,
    listener: Listener | None = None,
) -> Report:
    """Do what `extract_to_folder` does, on a cluster whose machines all reach the folder and the sources.

    Args:
        sources: the pictures.
        columns: which vectors; not used here, but by workers, who build them.
        folder: where to.
        options: how the vectors are made.
        build: builds the columns on a worker's machine.
        ray_options: the cluster, and how it is used.
        listener: hears of each unit's rows when it is done.

    Raises:
        MissingExtraError: Ray is not installed. InputError: no cluster answers, or it has no room for a worker.
    """
    if options.deduplicate:
        raise InputError(
            "workers on a cluster do not know each other's pictures: leave out --deduplicate, or the cluster"
        )
    started = time.perf_counter()
    listener = listener or Listener()
    report, known = begin_run(sources, folder, listener)
    jobs = [
        {"unit": number, "values": unit.to_dict()}
        for number, unit in enumerate(folder.inputs())
        if not known.get(number, Progress()).covers(unit)
    ]
    if jobs:
        with cluster(ray_options.address, "extraction on a cluster") as ray:
            workers = min(ray_options.workers or _room(ray.cluster_resources(), ray_options), len(jobs))
            results = _results_for_client if is_client(ray_options.address) else _results
            for said in results(jobs, _Worker.settings(build, folder, options), ray_options, workers):
                report.merge(said)
                listener.progress(said.rows)
    report.seconds = time.perf_counter() - started
    return report


def check_cluster(options: RayOptions) -> None:
    """Raise `InputError` where no cluster answers, and `MissingExtraError` without Ray."""
    if options.address != LOCAL:
        with cluster(options.address, "extraction on a cluster"):
            pass


def _room(resources: Mapping[str, float], options: RayOptions) -> int:
    """Return how many workers there is room for."""
    room = resources.get("CPU", 0) // options.cpus
    if options.gpus:
        room = min(room, resources.get("GPU", 0) // options.gpus)
    if room < 1:
        raise InputError(f"the cluster has no room for a worker of {options.cpus} processors and {options.gpus:g} GPUs")
    return int(room)


def _results(
    jobs: list[dict[str, Any]], settings: dict[str, Any], options: RayOptions, workers: int
) -> Iterator[Report]:
    """Yield what came of each unit, as they are done."""
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    done = ray.data.from_items(jobs, override_num_blocks=len(jobs)).map_batches(
        _Worker,
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
    """Yield the same to a client, which Ray Data does not run in, from an actor on the cluster, where it does."""
    import ray
    from ray.exceptions import RayError

    try:
        driver = ray.remote(num_cpus=0)(_Driver).remote(jobs, settings, options, workers)
        while (said := ray.get(driver.next.remote())) is not None:
            if isinstance(said, PnasnetError):
                raise said
            yield said
    except (RayError, ConnectionError) as error:
        raise _own(error) from error


class _Driver:
    """An actor: hands out units, and says what came of them."""

    def __init__(self, *arguments: Any) -> None:
        self._results = _results(*arguments)

    def next(self) -> Report | PnasnetError | None:
        """Return what came of the next unit, or what ended the run; None after the last."""
        try:
            return next(self._results, None)
        except PnasnetError as error:
            return error


def _own(error: BaseException) -> BaseException:
    """Return the error of ours that a worker ended with, if it is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PnasnetError):
            return type(cause)(*cause.args)
        cause = getattr(cause, "cause", None) or cause.__cause__
    return PnasnetError(f"Ray: {str(error).strip().splitlines()[-1]}")


class _Worker:
    """An actor: opens the networks once, and works off units."""

    @staticmethod
    def settings(build: BuildColumns, folder: FeatureFolder, options: ExtractOptions) -> dict[str, Any]:
        """Return the arguments of a worker."""
        places = {"folder": str(folder.path.absolute()), "directory": str(Path.cwd())}
        return {"build": build, "options": options, **places}

    def __init__(self, build: BuildColumns, folder: str, options: ExtractOptions, directory: str) -> None:
        enter(directory)
        self._columns, self._folder, self._options = build(), FeatureFolder(folder), options

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Report]]:
        jobs = zip(batch["unit"], batch["values"], strict=True)
        return {"report": [self._extract(int(unit), values) for unit, values in jobs]}

    def _extract(self, number: int, values: dict[str, Any]) -> Report:
        known = self._folder.progress(number)
        report = Report()
        units = [(number, Unit.from_dict(values))]
        fill_folder(self._folder, units, known, self._columns, self._options, report, part_seconds=math.inf)
        return report


def enter(directory: str) -> None:
    """Read relative paths as the user meant them, though Ray starts workers elsewhere."""
    try:
        os.chdir(directory)
    except OSError:
        os.chdir(os.sep)  # what they name is not on this machine, and nothing else is to be taken for it
