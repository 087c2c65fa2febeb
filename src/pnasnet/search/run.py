"""A whole search: from a configuration and pictures to a journal, and what is made of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError
from ..support.system import processors
from ..training.folder import writing
from .algorithms import run_algorithm
from .config import SearchConfig
from .evaluator import Job, LocalEvaluator, Patience
from .journal import JOURNAL, Journal
from .session import Budget, Children, Evaluator, Session, Step

log = logging.getLogger(__name__)

_LOCK, UNFINISHED = ".lock", "unfinished"


@dataclass(frozen=True)
class Workers:
    """Where children are trained; decides how fast it is, not what is found. Raises `InputError`."""

    count: int | None = None
    """Children at a time; None for as many as there are processors, or, on Ray, as the cluster has."""
    address: str | None = None
    """Of a Ray cluster, or `auto`; None for processes of this machine."""
    gpus: float = 0.0
    """Share of a GPU that each child has on a Ray cluster."""
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Searched:
    """What came of a search.

    Attributes:
        steps: of each search, by its name such as `progressive seed 0`, in the order of its choices.
        trained: children that were trained in this run; the others were in the journal.
    """

    steps: dict[str, list[Step]]
    trained: int


def search_name(algorithm: str, seed: int) -> str:
    """Return what a search is called in the journal."""
    return f"{algorithm} seed {seed}"


def search(
    config: SearchConfig,
    job: Job,
    data: dict[str, Any],
    folder: Path,
    workers: Workers | None = None,
    *,
    retry_failed: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Searched:
    """Run all searches of a configuration, one after the other, or go on where an earlier call was ended.

    Args:
        config: what decides the outcome.
        job: what trains a cell, in other processes.
        data: what tells the pictures from others, as `child.describe_data` returns it.
        folder: where the journal is.
        workers: where children are trained.
        retry_failed: whether children that could not be trained, or took too long, are tried again.
        check: called now and then; what it raises ends everything.

    Raises:
        InputError: another search runs in the folder, or it holds a journal of another configuration, or a damaged one.
        OutputError: something cannot be written.
    """
    workers = workers or Workers()
    with locked(folder), Journal(folder / JOURNAL) as journal:
        journal.claim(identity(config, data), config.to_dict())
        if retry_failed:
            log.info("%s children are tried again", journal.forget_lost())
        for name in journal.searches():  # a damaged row is an error now, not after hours
            journal.chosen(name)
        for cell in journal.children():
            job.forget(cell)  # of which a run was killed that had just written the row
        children = Children(journal, _evaluator(job, workers, config.child.seed), check, job.forget)
        try:
            steps = {
                search_name(algorithm, seed): _run(config, algorithm, seed, children, journal)
                for seed in config.search.seeds
                for algorithm in config.search.algorithms
            }
        finally:
            children.close()
        return Searched(steps, children.trained)


def _run(config: SearchConfig, algorithm: str, seed: int, children: Children, journal: Journal) -> list[Step]:
    session = Session(
        search_name(algorithm, seed), config.space, children, journal, budget(config), config.search.ahead
    )
    return run_algorithm(algorithm, config, seed, session)


def budget(config: SearchConfig) -> Budget:
    """Return the budget of each search."""
    hours = config.search.hours
    return Budget(config.models, None if hours is None else hours * 3600)


def identity(config: SearchConfig, data: dict[str, Any]) -> dict[str, Any]:
    """Return what decides the rows of a journal: all but which searches there are, how long, and what follows them."""
    plain = config.to_dict()
    strategy = {k: v for k, v in plain["search"].items() if k not in ("algorithms", "seeds", "models", "hours")}
    return {"space": plain["space"], "child": plain["child"], "search": strategy, "data": data}


def _evaluator(job: Job, workers: Workers, seed: int) -> Evaluator:
    if workers.address is not None:
        from .ray_evaluator import RayEvaluator

        return RayEvaluator(job, workers.address, workers.count, workers.patience, seed, workers.gpus)
    return LocalEvaluator(job, workers.count or processors(), workers.patience, seed)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other searches out of the folder, which is made if it is not there. Raises `InputError`, `OutputError`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"another search runs in {folder}: wait for it, or give another folder") from error
    try:
        yield
    finally:
        lock.release()
