"""What a journal says: the steps of each search, curves of the best against models trained, and rank correlations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..architecture.cells import PNASNET5, CellSpec
from .algorithms import observe
from .config import ALGORITHMS, SearchConfig
from .config_file import config_from_dict
from .journal import JOURNAL, Child, Choice, Journal
from .observed import Observed
from .predictors import NAMES, make_predictor, rank_correlation
from .run import budget, search_name
from .session import Budget, Step
from .space import SearchSpace

TOP = 5
"""Beside the best, the mean of so many best cells is followed, as in the paper's figure."""


@dataclass(frozen=True)
class Findings:
    """Everything that is known of a folder's searches.

    Attributes:
        config: the configuration that was run last.
        classes: the names of the pictures' classes.
        steps: of each algorithm, of each of its seeds.
        children: all that were trained.
    """

    config: SearchConfig
    classes: tuple[str, ...]
    steps: dict[str, dict[int, list[Step]]]
    children: dict[CellSpec, Child]

    @property
    def best(self) -> list[tuple[CellSpec, Child]]:
        """All children, the best first; of equal ones that with fewer blocks."""
        return sorted(self.children.items(), key=lambda each: (-each[1].accuracy, len(each[0].blocks)))


def read_findings(folder: Path) -> Findings:
    """Read a search's folder; nothing in it is changed. Raises `InputError` where it holds none, or a damaged one."""
    with Journal(folder / JOURNAL, readonly=True) as journal:
        config = config_from_dict(journal.config(), str(journal.path))
        children, names = journal.children(), set(journal.searches())
        steps: dict[str, dict[int, list[Step]]] = {}
        for algorithm in config.search.algorithms:
            for seed in config.search.seeds:
                if (name := search_name(algorithm, seed)) in names:
                    chosen = journal.chosen(name)
                    steps.setdefault(algorithm, {})[seed] = completed_steps(
                        budget(config), config.search.ahead, chosen, children
                    )
        return Findings(config, journal.classes(), steps, children)


def completed_steps(
    budget: Budget, ahead: int, chosen: Sequence[Choice], children: dict[CellSpec, Child]
) -> list[Step]:
    """Return the steps of a search: its choices until the budget is spent, or until the first without a result.

    The journal may hold more choices than a smaller budget allows. What a search knew when it made a choice is as in
    `Session`: the results of all earlier levels, and of its own level all but the last `ahead` - 1.
    """
    steps: list[Step] = []
    level_start = 0
    for choice in chosen:
        if steps and choice.level != steps[-1].choice.level:
            level_start = len(steps)
        known = steps[: max(level_start, len(steps) - ahead + 1)]
        child = children.get(choice.cell.canonical())
        if child is None or budget.is_spent(len(steps), known):
            break
        steps.append(Step(choice, child))
    return steps


# Curves.


def best_so_far(steps: Sequence[Step], top: int = 1) -> NDArray[np.float64]:
    """Return, after each model, the mean accuracy of the `top` best so far; NaN before there are so many. [N]."""
    accuracies = np.array([step.child.accuracy for step in steps])
    means = [
        np.sort(accuracies[:count])[-top:].mean() if count >= top else np.nan for count in range(1, len(steps) + 1)
    ]
    return np.array(means)


@dataclass(frozen=True)
class Curve:
    """An algorithm's progress over its seeds: mean and standard deviation after each number of models, [N] each."""

    algorithm: str
    seeds: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def curves(findings: Findings, top: int = 1) -> list[Curve]:
    """Return the curve of each algorithm as far as its seeds have come, but for those not half as far as the first."""
    made = []
    for algorithm in ALGORITHMS:
        runs = [best_so_far(steps, top) for steps in findings.steps.get(algorithm, {}).values() if steps]
        runs = [run for run in runs if 2 * len(run) >= max(map(len, runs))]
        if runs:
            values = np.stack([run[: min(map(len, runs))] for run in runs])
            deviation = values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(values.shape[1])
            made.append(Curve(algorithm, len(runs), values.mean(axis=0), deviation))
    return made


# Rank correlations.


@dataclass(frozen=True)
class Ranks:
    """How well a predictor that was fitted to all cells of up to `level` blocks ranks: means over seeds.

    Attributes:
        fitted: of the cells of `level` blocks that it was fitted to: the paper's first figure.
        next: of those of one block more, which it had not seen: the paper's second figure.
        deviation: of `next` over the seeds; 0 for one.
    """

    predictor: str
    level: int
    fitted: float
    next: float
    deviation: float


def rank_table(findings: Findings) -> list[Ranks]:
    """Return the rank correlations of all predictors at each level that progressive search has passed.

    Each is fitted anew to what the search knew after a level. `next` is measured on the cells that the search then
    chose to train, which are the upper end of all: a narrower range than the paper's random ones.
    """
    space = findings.config.space
    searches = findings.steps.get("progressive", {})
    runs = {seed: _levels(space, steps[: _passed(findings.config, steps)]) for seed, steps in searches.items()}
    table = []
    for level in range(1, space.blocks):
        passed = {seed: levels for seed, levels in runs.items() if levels.keys() >= set(range(1, level + 2))}
        for name in NAMES if passed else ():
            fitted, after = list[float](), list[float]()
            for seed, levels in passed.items():
                predictor = make_predictor(name, space, seed)
                predictor.fit([levels[number] for number in range(1, level + 1)])
                for values, observed in ((fitted, levels[level]), (after, levels[level + 1])):
                    values.append(rank_correlation(predictor.predict(observed.tokens), observed.accuracies))
            deviation = float(np.std(after, ddof=1)) if len(after) > 1 else 0.0
            table.append(Ranks(name, level, float(np.mean(fitted)), float(np.mean(after)), deviation))
    return table


def _passed(config: SearchConfig, steps: Sequence[Step]) -> int:
    """Return how many of its first steps belong to levels that progressive search has done with."""
    if len(steps) >= min(config.models, sum(config.levels)):
        return len(steps)
    last = max((step.choice.level for step in steps), default=0)
    return sum(step.choice.level < last for step in steps)


def _levels(space: SearchSpace, steps: Sequence[Step]) -> dict[int, Observed]:
    """Return what progressive search observed, by number of blocks; a level of less than three cells is left out."""
    usable = [step for step in steps if step.child.status != "failed"]
    levels = {number: [s for s in usable if s.choice.level == number] for number in range(1, space.blocks + 1)}
    return {number: observe(space, level) for number, level in levels.items() if len(level) > 2}


def predicted_and_measured(steps: Sequence[Step]) -> Iterator[tuple[int, list[tuple[float, float]]]]:
    """Yield, for each number of blocks from 2 up, what the search's predictor expected of its cells, and what came."""
    for level in sorted({step.choice.level for step in steps if step.choice.predicted is not None}):
        yield (
            level,
            [
                (step.choice.predicted, step.child.accuracy)
                for step in steps
                if step.choice.level == level and step.choice.predicted is not None
            ],
        )


@dataclass(frozen=True)
class Placed:
    """PNASNet-5's own cell among others of as many blocks, by the predictor alone.

    Attributes:
        score: what the predictor expects of it, fitted to all that progressive search knows.
        better: share of `sampled` random cells of as many blocks that the predictor expects less of.
        sampled: how many cells were drawn.
        largest: blocks of the largest cells that the predictor was fitted to.
    """

    score: float
    better: float
    sampled: int
    largest: int


def place_pnasnet5(findings: Findings, sampled: int = 10_000) -> Placed | None:
    """Score PNASNet-5's cell; None where the space lacks an operation of it, or nothing is known yet.

    As TF-Slim has it, the cell also concatenates a block that another block reads; here it is taken by the rule of the
    space, which leaves that one out.
    """
    cell, runs = CellSpec.of(PNASNET5.blocks), findings.steps.get("progressive", {})
    needed = {name for left, _, right, _ in cell.blocks for name in (left, right)}
    if not needed <= set(findings.config.space.operations):
        return None
    seed, steps = next(iter(runs.items()), (0, []))
    # A space that reaches as far as the cell; what the search has not seen of it is extrapolated.
    space = replace(findings.config.space, blocks=max(findings.config.space.blocks, len(cell.blocks)))
    observed = list(_levels(space, steps).values())
    if not observed:
        return None
    predictor = make_predictor(findings.config.search.predictor, space, seed)
    predictor.fit(observed)
    rows = space.sample(sampled, np.random.default_rng(seed))[:, : len(cell.blocks)]
    score = float(predictor.predict(space.tokens(space.encode(cell)[None]))[0])
    better = float((predictor.predict(space.tokens(rows)) < score).mean())
    return Placed(score, better, sampled, observed[-1].tokens.shape[1])
