"""Evaluates predictors on random cells of a journal, by the protocol of Liu et al., 2018, table 1.

Each trial draws `cells` trained random cells with equal numbers of blocks, fits a predictor to them, and measures its
rank correlation on them, and on all trained random cells with one block more.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..architecture.cells import CellSpec
from ..errors import UnknownNameError
from ..support.files import write_json
from ..support.locks import locked
from ..support.progress import Progress, counter, silent
from ..support.text import counted
from ..support.typed import convert_fields
from .config import SearchConfig
from .config_file import config_from_dict
from .evaluator import Trainer
from .journal import JOURNAL, Child, Choice, Journal
from .observed import Observed
from .predictors import NAMES, check_scipy, fit_and_rank, make_predictor, papers_ranks, rank_text
from .run import Workers, identity, make_evaluator
from .session import Children
from .space import SearchSpace

log = logging.getLogger(__name__)

TRIALS = "predictors.json"
"""Name of the results in the folder of a search."""
LEAST = 3
"""Least number of cells for a meaningful rank correlation."""
_MISSES = 10_000
"""Number of consecutive draws without a new cell after which a pool counts as complete."""


@dataclass(frozen=True)
class Protocol:
    """How predictors are evaluated; the defaults are the paper's. Raises `InputError` and `UnknownNameError`."""

    cells: int = 256
    """Number of cells to which a predictor is fitted, the paper's K; fewer if the space has fewer of one block."""
    pool: int = 10_000
    """Number of random cells of each size from two blocks up, the paper's R. All cells of one block are used."""
    trials: int = 20
    """Number of trials, each with other cells; the paper's T."""
    predictors: tuple[str, ...] = NAMES
    seed: int = 0

    def __post_init__(self) -> None:
        convert_fields(self, cells=LEAST, pool=LEAST, trials=1, seed=0)
        for name in self.predictors:
            if name not in NAMES:
                raise UnknownNameError.of("predictor", name, NAMES)


@dataclass(frozen=True)
class Trials:
    """Mean rank correlations of a predictor over all trials, with standard errors.

    Attributes:
        predictor: its name.
        level: number of blocks of the cells to which it was fitted.
        cells: number of these cells in each trial.
        unseen: number of random cells with one block more.
        fitted, fitted_error: correlation on the cells to which it was fitted, and its error.
        next, next_error: correlation on the cells with one block more, and its error.
    """

    predictor: str
    level: int
    cells: int
    unseen: int
    fitted: float
    fitted_error: float
    next: float
    next_error: float


@dataclass(frozen=True)
class PredictorEvaluation:
    """The result of `evaluate_predictors`.

    Attributes:
        rows: correlations of each predictor at each level with enough trained cells.
        trained: number of trained cells of each pool, and size of the pool, by number of blocks.
    """

    rows: list[Trials]
    trained: dict[int, tuple[int, int]]

    def lines(self) -> Iterator[str]:
        """Yield the lines of a table, with the paper's values beside the measured ones."""
        for level, (count, pool) in self.trained.items():
            yield f"{counted(level, 'block')}: {count:,} of {pool:,} random cells trained"
        if not self.rows:
            yield f"nothing to evaluate yet: at least {LEAST} random cells of two consecutive sizes must be trained"
            return
        yield ""
        yield f"{'predictor':<14} {'blocks':>6} {'cells':>6} {'fitted':>15} {'next size':>15} {'paper':>14}"
        for row in self.rows:
            fitted = f"{rank_text(row.fitted)} ± {rank_text(row.fitted_error)}"
            after = f"{rank_text(row.next)} ± {rank_text(row.next_error)}"
            paper = " ".join(map(rank_text, papers_ranks(row.predictor, row.level) or ()))
            yield f"{row.predictor:<14} {row.level:>6} {row.cells:>6} {fitted:>15} {after:>15} {paper:>14}".rstrip()


@dataclass(frozen=True)
class Training:
    """How to train the cells that a journal lacks. The fields are arguments of `run.search`."""

    trainer: Trainer
    data: dict[str, object]
    workers: Workers = field(default_factory=Workers)
    check: Callable[[], None] = lambda: None


def read_config(folder: Path) -> SearchConfig:
    """Return the configuration of the search in a folder. Raises `InputError` if there is none."""
    with Journal(folder / JOURNAL, readonly=True) as journal:
        return config_from_dict(journal.config(), str(journal.path))


def evaluate_predictors(
    folder: Path, protocol: Protocol, training: Training | None = None, progress: Progress = silent
) -> PredictorEvaluation:
    """Measure how well predictors rank the random cells of a search's folder, and write `predictors.json` there.

    With `training`, missing cells are trained first; the folder must hold a search on the same images. If it is
    interrupted, call it again to resume. Without `training`, each pool ends before its first untrained cell, so that
    the cells are a random sample.

    Raises `InputError` for a folder without a search, a damaged journal or other images; `LockedError`; `OutputError`;
    `MissingExtraError` without SciPy.
    """
    check_scipy()
    config = read_config(folder)
    with locked(folder):
        if training is not None:
            with Journal(folder / JOURNAL) as journal:
                journal.claim(identity(config, training.data), config.to_dict())
                pools = _pools(config, protocol, journal)
                _train(config, training, journal, pools, progress)
        with Journal(folder / JOURNAL, readonly=True) as journal:
            pools, children = _pools(config, protocol, journal), journal.children()
        known = {level: _trained(config.space, pool, children) for level, pool in pools.items()}
        rows = list(_trials(config.space, known, protocol, progress))
        sizes = {level: (len(known[level].accuracies), len(pool)) for level, pool in pools.items()}
        result = {"protocol": asdict(protocol), "trained": sizes, "rows": [asdict(row) for row in rows]}
        write_json(folder / TRIALS, result)
    return PredictorEvaluation(rows, sizes)


def _pools(config: SearchConfig, protocol: Protocol, journal: Journal) -> dict[int, list[CellSpec]]:
    """Return distinct random cells of each size; those that random searches in the journal chose are first."""
    space = config.space
    random = [choice for name in journal.searches() if name.startswith("random ") for choice in journal.chosen(name)]
    return {
        level: [space.decode(row) for row in space.one_block()] if level == 1 else _pool(space, level, protocol, random)
        for level in range(1, space.blocks + 1)
    }


def _pool(space: SearchSpace, level: int, protocol: Protocol, random: Sequence[Choice]) -> list[CellSpec]:
    rng = np.random.default_rng([protocol.seed, level])
    drawn = {choice.cell.canonical(): choice.cell for choice in random if choice.level == level}
    misses = 0
    while len(drawn) < protocol.pool and misses < _MISSES:
        cell = space.decode(space.sample(1, rng)[0, :level])
        misses = misses + 1 if cell.canonical() in drawn else 0
        drawn.setdefault(cell.canonical(), cell)
    return list(drawn.values())[: protocol.pool]


def _train(
    config: SearchConfig,
    training: Training,
    journal: Journal,
    pools: dict[int, list[CellSpec]],
    progress: Progress,
) -> None:
    """Train the missing cells. Sizes alternate, so that an interrupted run has similar numbers of each."""
    cells = [cell for cells in itertools.zip_longest(*pools.values()) for cell in cells if cell is not None]
    evaluator = make_evaluator(training.trainer, training.workers, config.child.seed)
    children = Children(journal, evaluator, training.check, training.trainer.forget)
    try:
        futures = [children.submit(cell) for cell in cells]
        advance = counter(progress, "random cells", len(cells))
        for number, future in enumerate(futures, 1):
            child = children.wait(future)
            log.info("random cell %s of %s: %.2f %%, %.0f s", number, len(cells), 100 * child.accuracy, child.seconds)
            advance(1)
    finally:
        children.close()


def _trained(space: SearchSpace, pool: Sequence[CellSpec], children: dict[CellSpec, Child]) -> Observed:
    """Return the cells of a pool before the first untrained one, without failed ones."""
    known = [
        (cell, children[cell.canonical()]) for cell in itertools.takewhile(lambda c: c.canonical() in children, pool)
    ]
    usable = [(cell, child) for cell, child in known if child.status != "failed"]
    rows = np.array([space.encode(cell) for cell, _ in usable], np.uint16).reshape(len(usable), len(pool[0].blocks))
    return Observed(space.tokens(rows), np.array([child.accuracy for _, child in usable], np.float32))


def _trials(space: SearchSpace, known: dict[int, Observed], protocol: Protocol, progress: Progress) -> Iterator[Trials]:
    counts = {level: len(each.accuracies) for level, each in known.items()}
    levels = [level for level in counts if min(counts[level], counts.get(level + 1, 0)) >= LEAST]
    advance = counter(progress, "fits", len(levels) * len(protocol.predictors) * protocol.trials)
    for level in levels:
        cells, unseen = known[level], known[level + 1]
        count = min(protocol.cells, counts[level])
        for name in protocol.predictors:
            values = []
            for trial in range(protocol.trials):
                chosen = np.random.default_rng([protocol.seed, level, trial]).permutation(counts[level])[:count]
                sample = Observed(cells.tokens[chosen], cells.accuracies[chosen])
                values.append(fit_and_rank(make_predictor(name, space, trial), [sample], sample, unseen))
                advance(1)
            fitted, after = np.mean(values, 0).tolist()
            deviations = np.std(values, 0, ddof=1).tolist() if len(values) > 1 else [0.0, 0.0]
            errors = [deviation / len(values) ** 0.5 for deviation in deviations]
            yield Trials(name, level, count, counts[level + 1], fitted, errors[0], after, errors[1])
