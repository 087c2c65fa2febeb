"""A running search: its choices in order, their results, and its budget.

The choices of a search depend on its seed and on the results of earlier choices, never on which worker finishes first.
Results are therefore collected in the order of the choices. The journal also stores the choices: a search that resumes
reads them, and makes only the missing ones.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Protocol

from ..architecture.cells import CellSpec
from ..errors import InputError
from ..support.progress import Progress, silent
from .journal import Child, Choice, Journal
from .space import EncodedCells, SearchSpace

log = logging.getLogger(__name__)

_FAILED = 5
"""Number of consecutive failed children after which the search stops: the cells cannot be the cause."""
_POLL_SECONDS = 0.2
"""Seconds between two calls of `check`."""


class Evaluator(Protocol):
    """Trains children, on this machine or on others."""

    workers: int
    """Number of children trained at a time."""

    def train(self, cell: CellSpec) -> Child:
        """Train a cell, and wait for the result. Called from `workers` threads. An error stops the search."""
        ...

    def close(self) -> None:
        """Stop all training; threads that wait for it get an error."""
        ...


class Children:
    """All children, each trained once: in the journal, in training, or queued.

    `check` is called repeatedly; if it raises, the search stops. `forget` is called with each cell after its child is
    in the journal.
    """

    def __init__(
        self,
        journal: Journal,
        evaluator: Evaluator,
        check: Callable[[], None] = lambda: None,
        forget: Callable[[CellSpec], None] = lambda cell: None,
    ) -> None:
        self._journal, self._evaluator, self.check, self._forget = journal, evaluator, check, forget
        self._pool = ThreadPoolExecutor(evaluator.workers, "child")
        self._futures: dict[CellSpec, Future[Child]] = {}
        self._counting = threading.Lock()
        self._failed = 0
        self.trained = 0
        """Number of children trained by this object."""

    def submit(self, cell: CellSpec) -> Future[Child]:
        """Return a cell's child as a future; train it unless it is in the journal."""
        cell = cell.canonical()
        if cell not in self._futures:
            if child := self._journal.child(cell):
                self._futures[cell] = Future()
                self._futures[cell].set_result(child)
            else:
                self._futures[cell] = self._pool.submit(self._train, cell)
        return self._futures[cell]

    def _train(self, cell: CellSpec) -> Child:
        child = self._evaluator.train(cell)
        self._journal.add(cell, child)  # before anything depends on it
        self._forget(cell)
        with self._counting:
            self.trained += 1
            self._failed = self._failed + 1 if child.status == "failed" else 0
            failed = self._failed
        if failed >= _FAILED:
            raise InputError(
                f"{failed} children in a row could not be trained, the last one because: {child.error}; fix the cause, "
                "and pass --retry-failed to train them again"
            )
        return child

    def wait(self, future: Future[Child]) -> Child:
        """Wait for a child. Calls `check` meanwhile."""
        while True:
            self.check()
            try:
                return future.result(_POLL_SECONDS)
            except FutureTimeoutError:
                if future.done():  # just now, or with a TimeoutError of its own
                    return future.result()

    def close(self) -> None:
        """Stop all training."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._evaluator.close()
        self._pool.shutdown()


class Spent(Exception):  # noqa: N818 - not an error: it ends an algorithm's loop
    """The budget is spent."""


@dataclass(frozen=True)
class Step:
    """A choice and its result."""

    choice: Choice
    child: Child


@dataclass(frozen=True)
class Budget:
    """When a search ends: after a number of cells, or of seconds of training; None for no limit."""

    models: int
    seconds: float | None = None

    def is_spent(self, chosen: int, known: Sequence[Step]) -> bool:
        """Return whether a search may choose no more after `chosen` choices, `known` of which have results."""
        if chosen >= self.models:
            return True
        return self.seconds is not None and sum(step.child.seconds for step in known) >= self.seconds


class Session:
    """A search in progress: chooses cells, and collects their results in the same order.

    `Strategy` describes `ahead`.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        children: Children,
        journal: Journal,
        budget: Budget,
        ahead: int,
        progress: Progress = silent,
    ) -> None:
        self.name, self.steps = name, list[Step]()
        self._space, self._children, self._journal = space, children, journal
        self._budget, self._ahead, self._progress = budget, ahead, progress
        self._recorded = journal.chosen(name)
        self._waiting = deque[tuple[Choice, Future[Child]]]()
        self._seen: set[bytes] = set()
        self._chosen = 0

    @property
    def outstanding(self) -> int:
        """Number of choices without a result."""
        return len(self._waiting)

    def is_new(self, row: EncodedCells) -> bool:
        """Return whether the search has not chosen an equivalent cell."""
        return self._space.canonical(row[None]).tobytes() not in self._seen

    def submit(self, row: EncodedCells, level: int) -> None:
        """Choose a cell, and train it unless its result is known. Raises `Spent` if the budget is spent."""
        self.check_budget()
        if self._chosen == len(self._recorded):
            self._record([Choice(self._space.decode(row), level)])
        self._start(self._recorded[self._chosen])

    def recorded_level(self, level: int) -> list[Choice]:
        """Return the choices of a level that an earlier run made; empty if it made none."""
        return [choice for choice in self._recorded[self._chosen :] if choice.level == level]

    def train(self, choices: Sequence[Choice]) -> list[Step]:
        """Train a whole level, and return its steps. Raises `Spent` once the budget is spent."""
        self.check_budget()
        if self._chosen == len(self._recorded):
            self._record(choices)  # all at once: a level is chosen as a whole
        first = len(self.steps)
        for choice in choices:
            self.check_budget()
            self._start(choice)
            # With a budget of hours, early results decide whether later children start.
            while self._budget.seconds is not None and self.outstanding >= self._ahead:
                self.collect()
        self.collect_all()
        return self.steps[first:]

    def collect(self) -> Step:
        """Wait for the result of the oldest outstanding choice, and return its step."""
        choice, future = self._waiting[0]
        step = Step(choice, self._children.wait(future))
        self._waiting.popleft()
        self.steps.append(step)
        self._report(step.child)
        return step

    def collect_all(self) -> None:
        """Wait for the results of all outstanding choices."""
        while self._waiting:
            self.collect()

    def check_budget(self) -> None:
        """Raise `Spent` if the budget is spent."""
        if self._budget.is_spent(self._chosen, self.steps):
            raise Spent

    def _record(self, choices: Sequence[Choice]) -> None:
        self._journal.choose(self.name, self._chosen, choices)
        self._recorded += choices

    def _start(self, choice: Choice) -> None:
        self._seen.add(self._space.canonical(self._space.encode(choice.cell)[None]).tobytes())
        self._chosen += 1
        self._waiting.append((choice, self._children.submit(choice.cell)))

    def _report(self, child: Child) -> None:
        best = max(step.child.accuracy for step in self.steps)
        note = "" if child.status == "ok" else f" ({child.status})"
        log.info(
            "%s: model %s of %s, %.2f %%%s, best %.2f %%, %.0f s",
            self.name, len(self.steps), self._budget.models, 100 * child.accuracy, note, 100 * best, child.seconds,
        )  # fmt: skip
        self._progress(self.name, len(self.steps), self._budget.models)
