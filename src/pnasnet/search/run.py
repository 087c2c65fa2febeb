"""Runs or resumes all searches of a configuration."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..support.locks import locked
from ..support.progress import Progress, silent
from ..support.system import processors
from ..support.typed import convert_fields
from .algorithms import run_algorithm
from .config import SearchConfig
from .evaluator import LocalEvaluator, Patience, Trainer
from .journal import JOURNAL, Journal
from .predictors import check_scipy
from .session import Budget, Children, Evaluator, Session, Step

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workers:
    """Where children are trained. It affects the speed of a search, not its result. Raises `InputError`."""

    count: int | None = None
    """Number of children trained at a time; None for one per processor of this machine or of the Ray cluster."""
    address: str | None = None
    """Address of a Ray cluster (`auto`, `HOST:PORT`); None for processes of this machine."""
    gpus: float = 0.0
    """Share of a GPU for each child, on a Ray cluster."""
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        convert_fields(self, count=1, gpus=0)


@dataclass(frozen=True)
class SearchResult:
    """The result of `search`.

    Attributes:
        steps: the steps of each search, in the order of its choices, by its name, such as `progressive seed 0`.
        trained: number of children that this call trained; the others were in the journal.
    """

    steps: dict[str, list[Step]]
    trained: int


def search_name(algorithm: str, seed: int) -> str:
    """Return the name of a search in the journal."""
    return f"{algorithm} seed {seed}"


def search(
    config: SearchConfig,
    trainer: Trainer,
    data: dict[str, Any],
    folder: Path,
    workers: Workers | None = None,
    *,
    reuse: Path | None = None,
    retry_failed: bool = False,
    check: Callable[[], None] = lambda: None,
    progress: Progress = silent,
) -> SearchResult:
    """Run all searches of a configuration one after the other; resume interrupted ones.

    Args:
        config: the configuration; with the images, it decides the result.
        trainer: trains cells in other processes.
        data: identifies the images, as returned by `child.describe_data`.
        folder: holds the journal.
        workers: where children are trained.
        reuse: folder of another search with the same `[child]` and images, whose children are copied first.
        retry_failed: whether children that failed or exceeded the timeout are trained again.
        check: called repeatedly; if it raises, all searches stop.
        progress: receives the number of trained models; the stages are the names of the searches.

    Raises:
        LockedError, OutputError: another search runs in the folder; a file cannot be written.
        InputError, MissingExtraError: the journal has another configuration or is damaged; SciPy or Ray is missing.
    """
    check_scipy()
    workers = workers or Workers()
    with locked(folder), Journal(folder / JOURNAL) as journal:
        journal.claim(identity(config, data), config.to_dict())
        _take_over(journal, trainer, reuse, retry_failed)
        children = Children(journal, make_evaluator(trainer, workers, config.child.seed), check, trainer.forget)

        def run(algorithm: str, seed: int) -> list[Step]:
            name, ahead = search_name(algorithm, seed), config.search.ahead
            session = Session(name, config.space, children, journal, budget(config), ahead, progress)
            return run_algorithm(algorithm, config, seed, session)

        try:
            steps = {
                search_name(algorithm, seed): run(algorithm, seed)
                for seed in config.search.seeds
                for algorithm in config.search.algorithms
            }
        finally:
            children.close()
        return SearchResult(steps, children.trained)


def _take_over(journal: Journal, trainer: Trainer, reuse: Path | None, retry_failed: bool) -> None:
    """Copy and delete children as requested, check all rows, and remove leftover files of finished children."""
    if reuse is not None:
        with Journal(reuse / JOURNAL, readonly=True) as other:
            log.info("%s children copied from %s", journal.copy_children(other), reuse)
    if retry_failed:
        log.info("%s failed children are trained again", journal.forget_lost())
    for name in journal.searches():  # a damaged row fails now, not after hours
        journal.chosen(name)
    for cell in journal.children():
        trainer.forget(cell)  # left by a run that was killed just after writing the row


def budget(config: SearchConfig) -> Budget:
    """Return the budget of each search."""
    hours = config.search.hours
    return Budget(config.models, None if hours is None else hours * 3600)


def identity(config: SearchConfig, data: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that affect the rows of a journal: not budgets, `[network]`, or which searches run."""
    plain = config.to_dict()
    strategy = {k: v for k, v in plain["search"].items() if k not in ("algorithms", "seeds", "models", "hours")}
    return {"space": plain["space"], "child": plain["child"], "search": strategy, "data": data}


def make_evaluator(trainer: Trainer, workers: Workers, seed: int) -> Evaluator:
    """Return an evaluator on this machine or on a Ray cluster. Raises as `RayEvaluator`."""
    if workers.address is not None:
        from .ray_evaluator import RayEvaluator

        return RayEvaluator(trainer, workers.address, workers.count, workers.patience, seed, workers.gpus)
    return LocalEvaluator(trainer, workers.count or processors(), workers.patience, seed)
