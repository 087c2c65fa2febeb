"""Analyses a journal: the steps of each search, curves of the best accuracy, and rank correlations of predictors."""

from collections.abc import Sequence
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
from .predictors import NAMES, fit_and_rank, make_predictor
from .run import budget, search_name
from .session import Budget, Step
from .space import SearchSpace

TOP = 5
"""Number of best cells whose mean accuracy is reported beside the best, as in the paper's figure."""


@dataclass(frozen=True)
class Findings:
    """The content of the journal in a folder.

    Attributes:
        config: the configuration of the latest run.
        classes: names of the images' classes.
        steps: the steps of each search, by algorithm and seed.
        children: all trained children, by the canonical form of their cells.
    """

    config: SearchConfig
    classes: tuple[str, ...]
    steps: dict[str, dict[int, list[Step]]]
    children: dict[CellSpec, Child]

    @property
    def best(self) -> list[tuple[CellSpec, Child]]:
        """All children, best first; at equal accuracy, those with fewer blocks first."""
        return sorted(self.children.items(), key=lambda each: (-each[1].accuracy, len(each[0].blocks)))


def read_findings(folder: Path) -> Findings:
    """Read a search's folder without changing it. Raises `InputError` if the journal is missing or damaged."""
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
    """Return the steps of a search up to the first choice without a result, or until the budget is spent.

    The journal may hold more choices than the budget allows. As in `Session`, a choice is made when all results of
    earlier levels are known, and all but the last `ahead` - 1 results of its own level.
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
    """Return the mean accuracy of the `top` best cells after each model, [N]; NaN before the model number `top`."""
    accuracies = np.array([step.child.accuracy for step in steps])
    means = [
        np.sort(accuracies[:count])[-top:].mean() if count >= top else np.nan for count in range(1, len(steps) + 1)
    ]
    return np.array(means)


@dataclass(frozen=True)
class Curve:
    """The mean accuracy of an algorithm over its seeds, and the standard deviation, after each model, [N] each."""

    algorithm: str
    seeds: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def seed_curves(findings: Findings, top: int = 1) -> dict[str, NDArray[np.float64]]:
    """Return `best_so_far` of all seeds, [seeds, N], by algorithm, cut at the shortest.

    Seeds with less than half as many models as the longest are ignored.
    """
    by_algorithm = {}
    for algorithm in ALGORITHMS:
        runs = [best_so_far(steps, top) for steps in findings.steps.get(algorithm, {}).values() if steps]
        runs = [run for run in runs if 2 * len(run) >= max(map(len, runs))]
        if runs:
            by_algorithm[algorithm] = np.stack([run[: min(map(len, runs))] for run in runs])
    return by_algorithm


def curves(findings: Findings, top: int = 1) -> list[Curve]:
    """Return the curve of each algorithm over the seeds of `seed_curves`."""
    return [
        Curve(algorithm, len(runs), runs.mean(axis=0), runs.std(axis=0, ddof=1) if len(runs) > 1 else 0 * runs[0])
        for algorithm, runs in seed_curves(findings, top).items()
    ]


# Rank correlations.


@dataclass(frozen=True)
class Ranks:
    """Mean rank correlations, over seeds, of a predictor fitted to all cells with up to `level` blocks.

    Attributes:
        predictor: its name.
        level: number of blocks.
        fitted: correlation on the cells of `level` blocks, to which it was fitted; the paper's first figure.
        next: correlation on unseen cells with one block more; the paper's second figure.
        deviation: standard deviation of `next` over the seeds; 0 for a single seed.
    """

    predictor: str
    level: int
    fitted: float
    next: float
    deviation: float


def rank_table(findings: Findings) -> list[Ranks]:
    """Return the rank correlations of all predictors at each level that progressive search has completed.

    Each predictor is fitted from scratch to the results known after the level. `next` is measured on the cells that the
    search chose next. They are predicted to be good, so their range is narrower than that of the paper's random cells.
    """
    space = findings.config.space
    searches = findings.steps.get("progressive", {})
    runs = {seed: _levels(space, steps[: _completed(findings.config, steps)]) for seed, steps in searches.items()}
    table = []
    for level in range(1, space.blocks):
        usable = {seed: levels for seed, levels in runs.items() if levels.keys() >= set(range(1, level + 2))}
        for name in NAMES if usable else ():
            values = np.array([
                fit_and_rank(
                    make_predictor(name, space, seed),
                    [levels[number] for number in range(1, level + 1)],
                    levels[level],
                    levels[level + 1],
                )
                for seed, levels in usable.items()
            ])  # fmt: skip
            fitted, after = values.mean(0).tolist()
            deviation = float(values[:, 1].std(ddof=1)) if len(values) > 1 else 0.0
            table.append(Ranks(name, level, fitted, after, deviation))
    return table


def _completed(config: SearchConfig, steps: Sequence[Step]) -> int:
    """Return the number of steps of levels that progressive search has completed."""
    if len(steps) >= min(config.models, sum(config.levels)):
        return len(steps)
    last = max((step.choice.level for step in steps), default=0)
    return sum(step.choice.level < last for step in steps)


def _levels(space: SearchSpace, steps: Sequence[Step]) -> dict[int, Observed]:
    """Return the results of progressive search by number of blocks, without levels of fewer than three cells."""
    usable = [step for step in steps if step.child.status != "failed"]
    levels = {number: [s for s in usable if s.choice.level == number] for number in range(1, space.blocks + 1)}
    return {number: observe(space, level) for number, level in levels.items() if len(level) > 2}


def predicted_and_measured(steps: Sequence[Step]) -> dict[int, list[tuple[float, float]]]:
    """Return pairs of predicted and measured accuracy of the cells that a predictor chose, by number of blocks."""
    pairs: dict[int, list[tuple[float, float]]] = {}
    for step in steps:
        if step.choice.predicted is not None:
            pairs.setdefault(step.choice.level, []).append((step.choice.predicted, step.child.accuracy))
    return pairs


@dataclass(frozen=True)
class Placed:
    """The predicted rank of PNASNet-5's cell, which is not trained, among random cells with as many blocks.

    Attributes:
        score: its accuracy, predicted from all results of progressive search.
        better: share of the random cells with a lower predicted accuracy.
        sampled: number of random cells.
        largest: number of blocks of the largest cells to which the predictor was fitted.
    """

    score: float
    better: float
    sampled: int
    largest: int


def place_pnasnet5(findings: Findings, sampled: int = 10_000) -> Placed | None:
    """Predict the rank of PNASNet-5's cell; None if the space lacks one of its operations, or there are no results.

    In TF-Slim, the cell also concatenates a block that another block reads. The space has no such cells, so that block
    is not concatenated here.
    """
    cell, runs = CellSpec.of(PNASNET5.blocks), findings.steps.get("progressive", {})
    needed = {name for left, _, right, _ in cell.blocks for name in (left, right)}
    if not needed <= set(findings.config.space.operations):
        return None
    seed, steps = next(iter(runs.items()), (0, []))
    # The predictor extrapolates to cells with more blocks than the search has trained.
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
