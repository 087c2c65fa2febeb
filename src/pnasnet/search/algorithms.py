"""The search algorithms: progressive (PNAS), random, and evolution."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..errors import InputError
from .config import SearchConfig
from .journal import Choice
from .observed import Observed
from .predictors import make_predictor
from .session import Session, Spent, Step
from .space import EncodedCells, SearchSpace

_MISSES = 10_000
"""Number of consecutive draws without a new cell after which the space counts as exhausted."""

Algorithm = Callable[[SearchConfig, int, Session], None]


def run_algorithm(name: str, config: SearchConfig, seed: int, session: Session) -> list[Step]:
    """Run an algorithm until its budget is spent or the space is exhausted, and return all its steps."""
    with suppress(Spent):
        _ALGORITHMS[name](config, seed, session)
    session.collect_all()
    return session.steps


def progressive_search(config: SearchConfig, seed: int, session: Session) -> None:
    """Train all cells of one block, then level by level the `beam` expansions with the highest predicted accuracy.

    Liu et al., 2018, algorithm 1. At each level, the predictor is fitted from scratch to all results so far. One-block
    cells are trained in random order, which matters only if the budget is spent before all are trained.
    """
    space, observed = config.space, list[Observed]()
    rows = np.random.default_rng(seed).permutation(space.one_block())
    choices = [Choice(space.decode(row), 1) for row in rows]
    for level in range(1, space.blocks + 1):
        session.check_budget()  # before spending time on choosing
        if level > 1:
            choices = session.recorded_level(level) or _best_expansions(config, seed, level, rows, observed)
        elif recorded := session.recorded_level(1):
            choices = recorded
        steps = session.train(choices)
        rows = np.stack([space.encode(step.choice.cell) for step in steps])
        observed.append(observe(space, steps))


def _best_expansions(
    config: SearchConfig, seed: int, level: int, parents: EncodedCells, observed: list[Observed]
) -> list[Choice]:
    """Return the choices of a level, by predicted accuracy, highest first."""
    space = config.space
    predictor = make_predictor(config.search.predictor, space, seed)
    predictor.fit(observed)
    candidates = space.expand(parents)
    candidates = candidates[space.distinct(candidates)]
    scores = predictor.predict(space.tokens(candidates))
    best = np.argsort(-scores, kind="stable")[: config.search.beam]
    return [Choice(space.decode(candidates[index]), level, float(scores[index])) for index in best]


def observe(space: SearchSpace, steps: list[Step]) -> Observed:
    """Return the cells and accuracies of steps with equal numbers of blocks, without failed children.

    Raises `InputError` if all failed.
    """
    usable = [step for step in steps if step.child.status != "failed"]
    if not usable:
        raise InputError(f"none of {len(steps)} cells could be trained: pass --retry-failed to train them again")
    rows = np.stack([space.encode(step.choice.cell) for step in usable])
    return Observed(space.tokens(rows), np.array([step.child.accuracy for step in usable], np.float32))


def random_search(config: SearchConfig, seed: int, session: Session) -> None:
    """Train cells with the full number of blocks, drawn uniformly from all sequences of blocks."""
    rng = np.random.default_rng(seed)
    while (row := _new(session, lambda: config.space.sample(1, rng)[0])) is not None:
        _make_room(config, session)
        session.submit(row, config.space.blocks)


def regularized_evolution(config: SearchConfig, seed: int, session: Session) -> None:
    """Train mutants of the best cell of a sample of the population, from which the oldest is removed.

    This is aging evolution (Real et al., 2018), but samples are drawn without replacement. The first `population` cells
    are random. Each choice waits for all but the last `ahead` - 1 results, whatever the number of workers: so workers
    are busy, and the result does not depend on their number. A mutant that the search has chosen before is drawn again.
    """
    space, search = config.space, config.search
    rng, population = np.random.default_rng(seed), deque[tuple[float, EncodedCells]](maxlen=search.population)

    def mutant() -> EncodedCells:
        sample = [
            population[index] for index in rng.choice(len(population), min(search.sample, len(population)), False)
        ]
        return space.mutate(max(sample, key=lambda each: each[0])[1], rng)

    count = 0
    while True:
        for step in _make_room(config, session):
            population.append((step.child.accuracy, space.encode(step.choice.cell)))
        row = _new(session, mutant if count >= search.population else lambda: space.sample(1, rng)[0])
        if row is None:
            return
        session.submit(row, space.blocks)
        count += 1


def _make_room(config: SearchConfig, session: Session) -> list[Step]:
    """Collect results until fewer than `ahead` choices are outstanding."""
    return [session.collect() for _ in range(session.outstanding - config.search.ahead + 1)]


def _new(session: Session, draw: Callable[[], EncodedCells]) -> EncodedCells | None:
    """Return the first draw that is new to the search; None if there is none among `_MISSES` draws."""
    return next((row for row in (draw() for _ in range(_MISSES)) if session.is_new(row)), None)


_ALGORITHMS: dict[str, Algorithm] = {
    "progressive": progressive_search,
    "random": random_search,
    "evolution": regularized_evolution,
}
