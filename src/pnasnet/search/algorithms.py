"""The searches: progressive (PNAS), random, and regularized evolution, over the same space and the same children."""

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
from .space import Rows, SearchSpace

_MISSES = 10_000
"""Draws in a row that bring nothing new: then the space is taken as exhausted."""

Algorithm = Callable[[SearchConfig, int, Session], None]


def run_algorithm(name: str, config: SearchConfig, seed: int, session: Session) -> list[Step]:
    """Let an algorithm choose until its budget is spent or there is nothing left, and return all its steps."""
    with suppress(Spent):
        _ALGORITHMS[name](config, seed, session)
    session.collect_all()
    return session.steps


def progressive_search(config: SearchConfig, seed: int, session: Session) -> None:
    """All cells of one block; then, block by block, the `beam` best of all expansions as the predictor ranks them.

    Liu et al., 2018, algorithm 1. The predictor is fitted anew, from scratch, to all that is known. One-block cells
    come in random order, which matters only where the budget ends among them.
    """
    space, observed = config.space, list[Observed]()
    rows = np.random.default_rng(seed).permutation(space.one_block())
    choices = [Choice(space.decode(row), 1) for row in rows]
    for level in range(1, space.blocks + 1):
        session.check_budget()  # before time goes into choosing
        if level > 1:
            choices = session.recorded_level(level) or _best_expansions(config, seed, level, rows, observed)
        elif recorded := session.recorded_level(1):
            choices = recorded
        steps = session.train(choices)
        rows = np.stack([space.encode(step.choice.cell) for step in steps])
        observed.append(observe(space, steps))


def _best_expansions(
    config: SearchConfig, seed: int, level: int, parents: Rows, observed: list[Observed]
) -> list[Choice]:
    """Return the beam of a level, best first."""
    space = config.space
    predictor = make_predictor(config.search.predictor, space, seed)
    predictor.fit(observed)
    candidates = space.expand(parents)
    candidates = candidates[space.distinct(candidates)]
    scores = predictor.predict(space.tokens(candidates))
    best = np.argsort(-scores, kind="stable")[: config.search.beam]
    return [Choice(space.decode(candidates[index]), level, float(scores[index])) for index in best]


def observe(space: SearchSpace, steps: list[Step]) -> Observed:
    """Return what a predictor learns from steps of one number of blocks: from all but those that could not be trained.

    Raises `InputError` where that leaves none.
    """
    usable = [step for step in steps if step.child.status != "failed"]
    if not usable:
        raise InputError(f"none of {len(steps)} cells could be trained: --retry-failed tries them again")
    rows = np.stack([space.encode(step.choice.cell) for step in usable])
    return Observed(space.tokens(rows), np.array([step.child.accuracy for step in usable], np.float32))


def random_search(config: SearchConfig, seed: int, session: Session) -> None:
    """Cells with all their blocks, every sequence equally likely."""
    rng = np.random.default_rng(seed)
    while (row := _new(session, lambda: config.space.sample(1, rng)[0])) is not None:
        _make_room(config, session)
        session.submit(row, config.space.blocks)


def regularized_evolution(config: SearchConfig, seed: int, session: Session) -> None:
    """Regularized evolution (Real et al., 2018): the best of a sample is changed in one place, the oldest dies.

    The first `population` cells are random. The sample is drawn without replacement, the paper's with. A cell is
    chosen when all but the last `ahead` - 1 before it are known, whatever the number of workers, so that they have
    something to do and the outcome does not depend on them. Cells that this search has already chosen are drawn anew.
    """
    space, search = config.space, config.search
    rng, population = np.random.default_rng(seed), deque[tuple[float, Rows]](maxlen=search.population)

    def child() -> Rows:
        sample = [
            population[index] for index in rng.choice(len(population), min(search.sample, len(population)), False)
        ]
        return space.mutate(max(sample, key=lambda each: each[0])[1], rng)

    count = 0
    while True:
        for step in _make_room(config, session):
            population.append((step.child.accuracy, space.encode(step.choice.cell)))
        row = _new(session, child if count >= search.population else lambda: space.sample(1, rng)[0])
        if row is None:
            return
        session.submit(row, space.blocks)
        count += 1


def _make_room(config: SearchConfig, session: Session) -> list[Step]:
    """Collect until less than `ahead` choices are outstanding."""
    return [session.collect() for _ in range(session.outstanding - config.search.ahead + 1)]


def _new(session: Session, draw: Callable[[], Rows]) -> Rows | None:
    """Return the first draw that is new to the search; None if there is none in many."""
    return next((row for row in (draw() for _ in range(_MISSES)) if session.is_new(row)), None)


_ALGORITHMS: dict[str, Algorithm] = {
    "progressive": progressive_search,
    "random": random_search,
    "evolution": regularized_evolution,
}
