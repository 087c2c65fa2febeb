"""Trains children in processes of this machine, several at a time.

If a process dies, hangs or runs out of memory, it is replaced, and its child is trained again. A child that fails in
every attempt is recorded with the accuracy of guessing. `ray_evaluator` does the same on Ray.
"""

import logging
import multiprocessing
import os
import platform
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import Protocol

from ..architecture.cells import CellSpec
from ..errors import InputError, OutOfMemoryError, PnasnetError
from ..support.typed import convert_fields
from .journal import Child

log = logging.getLogger(__name__)

_LONGEST = 30 * 86400.0
"""The longest timeout, in seconds; longer ones overflow in the system's waits."""

Train = Callable[[CellSpec, Callable[[], None]], Child]
"""Trains a cell. It calls the second argument repeatedly, and stops if that raises."""


class Trainer(Protocol):
    """Trains cells in other processes. A trainer is hashable and picklable, such as `child.ChildTrainer`."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in [0, 1], recorded for a child that cannot be trained."""
        ...

    def __hash__(self) -> int: ...

    def prepare(self) -> Train:
        """Prepare this process, for example decode the images, and return a function that trains cells."""
        ...

    def forget(self, cell: CellSpec) -> None:
        """Remove the files of a cell's training after its result is in the journal."""
        ...


@dataclass(frozen=True)
class Patience:
    """When to give up on a child. Raises `InputError` for values of another type or out of range."""

    timeout: float | None = None
    """Limit for each attempt to train a child, in seconds; None for no limit."""
    retries: int = 2
    """Number of further attempts after a child's process died or exceeded the timeout."""

    def __post_init__(self) -> None:
        convert_fields(self, retries=0)
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"a timeout of {self.timeout} s leaves no time to train: use a longer one, or omit it")
        if self.timeout is not None and self.timeout > _LONGEST:
            raise InputError(f"a timeout of {self.timeout} s is too long to wait for: omit it for no limit")


class LostError(Exception):
    """The process that trained a child died, or raised an unexpected error."""


class TooLongError(Exception):
    """An attempt to train a child exceeded its timeout."""


Attempt = Callable[[Callable[[], None]], Child]
"""Trains a child, and calls its argument when training starts. Raises `LostError` and `TooLongError`."""


def with_patience(attempt: Attempt, patience: Patience, chance: float, seed: int, *, resumes: bool) -> Child:
    """Train a child, and retry after a lost process or a timeout. If all attempts fail, its accuracy is `chance`.

    `Child.seconds` covers all attempts. With `resumes`, the seconds of an attempt include those of the attempts before.
    """
    reason: Exception = LostError("never started")
    lost = 0.0  # seconds of the attempts before
    started: list[float] = []
    for number in range(1, patience.retries + 2):
        started.clear()
        try:
            child = attempt(lambda: started.append(time.monotonic()))
            return replace(child, tries=number, seconds=child.seconds + (0 if resumes else lost))
        except (LostError, TooLongError) as error:
            reason = error
            lost += time.monotonic() - started[0] if started else 0
            log.warning("attempt %s of %s to train a child failed: %s", number, patience.retries + 1, error)
    status = "timeout" if isinstance(reason, TooLongError) else "failed"
    text = " ".join(str(reason).split())
    return Child(chance, (), status, text, seed, lost, platform.node(), patience.retries + 1, now())  # type: ignore[arg-type]


def now() -> str:
    """Return the current time in UTC, as in `Child.finished`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class LocalEvaluator:
    """Trains children in `workers` processes of this machine, which start when needed and have one thread each."""

    def __init__(self, trainer: Trainer, workers: int, patience: Patience, seed: int = 0) -> None:
        if workers < 1:
            raise InputError(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self._trainer, self._patience, self._seed = trainer, patience, seed
        self._all = [_ChildProcess(trainer) for _ in range(workers)]
        self._free: queue.SimpleQueue[_ChildProcess] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def train(self, cell: CellSpec) -> Child:
        """Train a cell in a free process, and wait for the result."""
        worker = self._free.get()
        try:
            attempt = partial(worker.train, cell, self._patience.timeout)
            return with_patience(attempt, self._patience, self._trainer.chance, self._seed, resumes=True)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """Kill all processes."""
        for worker in self._all:
            worker.close()


class _ChildProcess:
    """A process that trains children, and the pipe to it."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._closed, self._starting = trainer, False, threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def train(self, cell: CellSpec, timeout: float | None, started: Callable[[], None]) -> Child:
        """Train a cell, and wait for the result. Raises `LostError`, `TooLongError`, or the trainer's error."""
        try:
            connection = self._start()
            connection.send(cell)
            # The process reports the start of training: its own start, and reading the images, have no time limit.
            connection.recv()
            started()
            if not connection.poll(timeout):
                raise TooLongError(f"not done within {timeout:g} s")
            reply = connection.recv()
        except TooLongError:
            self._end()
            raise
        except (EOFError, OSError) as error:
            code = self._end()
            raise (
                InputError("the search was stopped") if self._closed else LostError(f"its process died ({code})")
            ) from error
        return child_or_error(reply)

    def _start(self) -> Connection:
        with self._starting:
            if self._closed:
                raise EOFError
            if self._process is None or self._connection is None:
                context = multiprocessing.get_context("spawn")  # a fork would inherit threads' locks, and torch's
                self._connection, theirs = context.Pipe()
                self._process = context.Process(target=_work, args=(theirs, self._trainer, os.getpid()), daemon=True)
                self._process.start()
                theirs.close()  # otherwise, the pipe would stay open when the process dies
            return self._connection

    def _end(self) -> int | None:
        """Kill the process, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        process.join()
        return process.exitcode

    def close(self) -> None:
        """Kill the process, and start no other. A thread that waits for it finds the pipe closed."""
        with self._starting:
            self._closed = True
            if self._process is not None:
                self._process.kill()


def _work(connection: Connection, trainer: Trainer, parent: int) -> None:
    """Train the cells from the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the search, which then kills this process

    def check() -> None:
        if os.getppid() != parent:
            os._exit(1)  # the search was killed, and a new run may already be training this child

    train: Train | None = None
    try:
        while True:
            cell = connection.recv()
            if train is None:
                train = prepare(trainer)
            connection.send("started")
            connection.send(reply_of(train, cell, check))
    except (EOFError, OSError):
        return  # the search has stopped


Reply = Child | tuple[str, str]
"""A child, or (`refused` or `crashed`, reason). It is not an exception, because some cannot be pickled."""


def prepare(trainer: Trainer) -> Train:
    """Prepare a trainer. If that fails, return a function that raises an `InputError` for every cell."""
    try:
        return trainer.prepare()
    except Exception as error:
        refusal = InputError(str(error) if isinstance(error, PnasnetError) else f"{type(error).__name__}: {error}")

        def refuse(cell: CellSpec, check: Callable[[], None]) -> Child:
            raise refusal

        return refuse


def reply_of(train: Train, cell: CellSpec, check: Callable[[], None]) -> Reply:
    """Train a cell, and return the child, or the kind and message of the error."""
    try:
        return train(cell, check)
    except OutOfMemoryError as error:  # perhaps only this cell is too large
        return "crashed", str(error)
    except PnasnetError as error:
        return "refused", str(error)
    except Exception as error:
        return "crashed", f"{type(error).__name__}: {error}"


def child_or_error(reply: Reply) -> Child:
    """Return the child of a reply. Raises `InputError` if it was refused, `LostError` if it crashed."""
    if isinstance(reply, Child):
        return reply
    kind, text = reply
    raise InputError(text) if kind == "refused" else LostError(text)
