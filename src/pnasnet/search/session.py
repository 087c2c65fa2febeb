"""One search at work: what it chose, in order; what came of it; and when its budget is spent.

What a search chooses follows from its seed and from the results of what it chose before, in the order of the choices,
never from which worker was first. Results are therefore collected in that order. The journal has every choice, too: a
search that goes on takes from it what it had chosen, and computes anew only what it had not.
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
from .journal import Child, Choice, Journal
from .space import Rows, SearchSpace

log = logging.getLogger(__name__)

_FAILED = 5
"""So many children in a row that could not be trained are the fault of something else."""
_ASK = 0.2
"""Seconds after which it is asked again whether to stop."""


class Evaluator(Protocol):
    """Trains children, on this machine or on others."""

    workers: int
    """How many at a time."""

    def train(self, cell: CellSpec) -> Child:
        """Train one and wait for it. Called from `workers` threads. Raises `PnasnetError` where no child can be."""
        ...

    def close(self) -> None:
        """End all that still runs; threads that wait for it get an error."""
        ...


class Children:
    """All children, each trained once: those of the journal, those that are being trained, those still to be."""

    def __init__(
        self,
        journal: Journal,
        evaluator: Evaluator,
        check: Callable[[], None] = lambda: None,
        forget: Callable[[CellSpec], None] = lambda cell: None,
    ) -> None:
        """Take where rows go, and what trains.

        `check` is called now and then to raise if all should end; `forget` for each child whose row is safe.
        """
        self._journal, self._evaluator, self.check, self._forget = journal, evaluator, check, forget
        self._pool = ThreadPoolExecutor(evaluator.workers, "child")
        self._futures: dict[CellSpec, Future[Child]] = {}
        self._counting = threading.Lock()
        self._failed = 0
        self.trained = 0
        """Children that were trained since this was made."""

    def submit(self, cell: CellSpec) -> Future[Child]:
        """Return a cell's child, or the promise of it."""
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
        self._journal.add(cell, child)  # before anybody hears of it
        self._forget(cell)
        with self._counting:
            self.trained += 1
            self._failed = self._failed + 1 if child.status == "failed" else 0
            failed = self._failed
        if failed >= _FAILED:
            raise InputError(
                f"{failed} children one after the other could not be trained, the last: {child.error}; once that is "
                "mended, --retry-failed tries them again"
            )
        return child

    def wait(self, future: Future[Child]) -> Child:
        """Return the child; ask now and then whether to stop."""
        while True:
            self.check()
            try:
                return future.result(_ASK)
            except FutureTimeoutError:
                if future.done():  # by now, or with a timeout of the child's own
                    return future.result()

    def close(self) -> None:
        """End all that still runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._evaluator.close()
        self._pool.shutdown()


class Spent(Exception):  # noqa: N818 - not an error: it ends an algorithm's loop
    """The budget is spent."""


@dataclass(frozen=True)
class Step:
    """A choice and what came of it."""

    choice: Choice
    child: Child


@dataclass(frozen=True)
class Budget:
    """When a search ends: after so many different cells, or once they took so many seconds to train."""

    models: int
    seconds: float | None = None


class Session:
    """A search's own view of the children."""

    def __init__(
        self, name: str, space: SearchSpace, children: Children, journal: Journal, budget: Budget, ahead: int
    ) -> None:
        """Take the search's name, and what it works with; `ahead` as in `Strategy`."""
        self.name, self.steps = name, list[Step]()
        self._space, self._children, self._journal = space, children, journal
        self._budget, self._ahead = budget, ahead
        self._recorded = journal.chosen(name)
        self._waiting = deque[tuple[Choice, Future[Child]]]()
        self._seen: set[bytes] = set()
        self._chosen = 0

    @property
    def outstanding(self) -> int:
        """How many choices have not been collected."""
        return len(self._waiting)

    def is_new(self, row: Rows) -> bool:
        """Return whether the search has chosen no cell that computes the same."""
        return self._space.canonical(row[None]).tobytes() not in self._seen

    def submit(self, row: Rows, level: int) -> None:
        """Choose a cell and let it be trained. Raises `Spent`."""
        self.check_budget()
        if self._chosen == len(self._recorded):
            self._record([Choice(self._space.decode(row), level)])
        self._start(self._recorded[self._chosen])

    def recorded_level(self, level: int) -> list[Choice]:
        """Return what was chosen for a level in an earlier run; empty if that was not yet decided."""
        return [choice for choice in self._recorded[self._chosen :] if choice.level == level]

    def train(self, choices: Sequence[Choice]) -> list[Step]:
        """Let all of these be trained, and return what came of them. Raises `Spent` once the budget is."""
        self.check_budget()
        if self._chosen == len(self._recorded):
            self._record(choices)  # at once: a level is decided as a whole
        first = len(self.steps)
        for choice in choices:
            self.check_budget()
            self._start(choice)
            # Only a budget of hours must know what came of the first before the last is begun.
            while self._budget.seconds is not None and self.outstanding >= self._ahead:
                self.collect()
        self.collect_all()
        return self.steps[first:]

    def collect(self) -> Step:
        """Wait for the oldest choice that is outstanding, and return it with what came of it."""
        choice, future = self._waiting[0]
        step = Step(choice, self._children.wait(future))
        self._waiting.popleft()
        self.steps.append(step)
        self._tell(step)
        return step

    def collect_all(self) -> None:
        """Wait for all that is outstanding."""
        while self._waiting:
            self.collect()

    def check_budget(self) -> None:
        """Raise `Spent` if it is."""
        seconds = sum(step.child.seconds for step in self.steps)
        if self._chosen >= self._budget.models or (
            self._budget.seconds is not None and seconds >= self._budget.seconds
        ):
            raise Spent

    def _record(self, choices: Sequence[Choice]) -> None:
        self._journal.choose(self.name, self._chosen, choices)
        self._recorded += choices

    def _start(self, choice: Choice) -> None:
        self._seen.add(self._space.canonical(self._space.encode(choice.cell)[None]).tobytes())
        self._chosen += 1
        self._waiting.append((choice, self._children.submit(choice.cell)))

    def _tell(self, step: Step) -> None:
        best = max(each.child.accuracy for each in self.steps)
        child = step.child
        note = "" if child.status == "ok" else f" ({child.status})"
        log.info(
            "%s: model %s of %s, %.2f %%%s, best %.2f %%, %.0f s",
            self.name, len(self.steps), self._budget.models, 100 * child.accuracy, note, 100 * best, child.seconds,
        )  # fmt: skip
