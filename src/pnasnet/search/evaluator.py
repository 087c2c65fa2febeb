"""Training children in processes of this machine: several at a time, each in a process that lives on.

A process that dies, hangs or runs out of memory is replaced and its child begun again; what cannot be trained counts as
trained, at chance, so that no search waits for it forever. Ray has an evaluator of its own, see `ray_evaluator`.
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
from multiprocessing.connection import Connection
from typing import Protocol

from ..architecture.cells import CellSpec
from ..errors import InputError, OutOfMemoryError, PnasnetError
from .journal import Child

log = logging.getLogger(__name__)

_LONGEST = 30 * 86400.0
"""The longest time-out in seconds; far longer ones overflow what the system waits with."""

Train = Callable[[CellSpec, Callable[[], None]], Child]
"""Trains a cell, calling the second argument now and then; what that raises ends it."""


class Job(Protocol):
    """What a process is given: a value that can be pickled, such as `child.TrainingJob`."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing, for a child that cannot be trained."""
        ...

    def __hash__(self) -> int:
        """Return a hash; of equal jobs one is prepared."""
        ...

    def prepare(self) -> Train:
        """Do what is done once in each process, such as to read the pictures, and return what trains a cell."""
        ...

    def forget(self, cell: CellSpec) -> None:
        """Remove what is left of a cell's training: its result is safe."""
        ...


@dataclass(frozen=True)
class Patience:
    """How much is put up with. Raises `InputError`."""

    timeout: float | None = None
    """Seconds that each try of a child may take; None for as long as it likes."""
    retries: int = 2
    """How often a child whose process died or took too long is begun again."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.timeout is not None and not self.timeout > 0:
            raise InputError(f"a time-out of {self.timeout} s leaves no time to train; give more, or none")
        if self.timeout is not None and self.timeout > _LONGEST:
            raise InputError(f"a time-out of {self.timeout} s is none: leave it out")
        if self.retries < 0:
            raise InputError(f"retries must be 0 or more, not {self.retries}")


class LostError(Exception):
    """The process that trained a child is gone, or has raised what it should not."""


class TooLongError(Exception):
    """A child took longer than it may."""


def with_patience(once: Callable[[], Child], patience: Patience, chance: float, seed: int) -> Child:
    """Train a child; again where its process was lost or it took too long; at last count it as trained, at chance."""
    reason: Exception = LostError("never begun")
    started = time.monotonic()
    for attempt in range(1, patience.retries + 2):
        try:
            return replace(once(), tries=attempt)
        except (LostError, TooLongError) as error:
            reason = error
            log.warning("a child was lost in try %s of %s: %s", attempt, patience.retries + 1, error)
    status = "timeout" if isinstance(reason, TooLongError) else "failed"
    text = " ".join(str(reason).split())
    seconds = time.monotonic() - started
    return Child(chance, (), status, text, seed, seconds, platform.node(), patience.retries + 1, now())  # type: ignore[arg-type]


def now() -> str:
    """Return the time, in UTC, as `Child.finished` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class LocalEvaluator:
    """Trains children in processes of this machine, one thread each."""

    def __init__(self, job: Job, workers: int, patience: Patience, seed: int = 0) -> None:
        """Take what to do and how many at a time; processes start when there is something to do."""
        if workers < 1:
            raise InputError(f"workers must be at least 1, not {workers}")
        self.workers = workers
        self._job, self._patience, self._seed = job, patience, seed
        self._all = [_Worker(job) for _ in range(workers)]
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def train(self, cell: CellSpec) -> Child:
        """Train a cell in a process that is free."""
        worker = self._free.get()
        try:
            timeout = self._patience.timeout
            return with_patience(lambda: worker.train(cell, timeout), self._patience, self._job.chance, self._seed)
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for worker in self._all:
            worker.close()


class _Worker:
    """A process, and how to talk to it."""

    def __init__(self, job: Job) -> None:
        self._job, self._closed, self._starting = job, False, threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def train(self, cell: CellSpec, timeout: float | None) -> Child:
        """Let it train, and wait. Raises `LostError`, `TooLongError`, or the error that the child reports."""
        try:
            connection = self._start()
            connection.send(cell)
            # The first child of a process waits for its start, which is not counted: it says when it begins.
            connection.recv()
            if not connection.poll(timeout):
                raise TooLongError(f"not done in {timeout:g} s")
            given = connection.recv()
        except TooLongError:
            self._end()
            raise
        except (EOFError, OSError) as error:
            code = self._end()
            raise (
                InputError("the search was ended") if self._closed else LostError(f"its process died ({code})")
            ) from error
        return child_or_error(given)

    def _start(self) -> Connection:
        with self._starting:
            if self._closed:
                raise EOFError
            if self._process is None or self._connection is None:
                context = multiprocessing.get_context("spawn")  # a fork would inherit threads' locks, and torch's
                self._connection, theirs = context.Pipe()
                self._process = context.Process(target=_work, args=(theirs, self._job, os.getpid()), daemon=True)
                self._process.start()
                theirs.close()  # so that its death is an end of file here
            return self._connection

    def _end(self) -> int | None:
        """End the process, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        process.join()
        return process.exitcode

    def close(self) -> None:
        """End it for good. Its thread finds the pipe at its end."""
        with self._starting:
            self._closed = True
            if self._process is not None:
                self._process.kill()


def _work(connection: Connection, job: Job, parent: int) -> None:
    """Do what the process is for: train what comes through the pipe until there is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which ends this process if it ends itself

    def check() -> None:
        if os.getppid() != parent:
            os._exit(1)  # the search was killed, and its next run may be training this very child

    train: Train | None = None
    try:
        while True:
            cell = connection.recv()
            if train is None:
                train = prepare(job)
            connection.send("begins")
            connection.send(answer(train, cell, check))
    except (EOFError, OSError):
        return  # the search has ended


Answer = Child | tuple[str, str]
"""A child, or (`refused` or `crashed`, why): an exception on its way from another process may not arrive."""


def prepare(job: Job) -> Train:
    """Prepare a job; if it cannot be, return what says so of every cell."""
    try:
        return job.prepare()
    except Exception as error:
        refusal = InputError(str(error) if isinstance(error, PnasnetError) else f"{type(error).__name__}: {error}")

        def refuse(cell: CellSpec, check: Callable[[], None]) -> Child:
            raise refusal

        return refuse


def answer(train: Train, cell: CellSpec, check: Callable[[], None]) -> Answer:
    """Train a cell and return what is sent back."""
    try:
        return train(cell, check)
    except OutOfMemoryError as error:  # it may be of this cell alone, or pass
        return "crashed", str(error)
    except PnasnetError as error:
        return "refused", str(error)
    except Exception as error:
        return "crashed", f"{type(error).__name__}: {error}"


def child_or_error(given: Answer) -> Child:
    """Return the child that was sent back; raise what was, `InputError` for a refusal and `LostError` otherwise."""
    if isinstance(given, Child):
        return given
    kind, text = given
    raise InputError(text) if kind == "refused" else LostError(text)
