"""Trains children as Ray tasks, on one or several machines, which must all reach the images by the same name."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import Any

from ..architecture.cells import CellSpec
from ..errors import InputError
from ..support.cluster import cluster
from .evaluator import (
    LostError,
    Patience,
    Reply,
    TooLongError,
    Train,
    Trainer,
    child_or_error,
    prepare,
    reply_of,
    with_patience,
)
from .journal import Child

log = logging.getLogger(__name__)

_SILENCE = 60.0
"""Seconds after which a log message reports that a task waits for a machine."""


class RayEvaluator:
    """Trains children as tasks of a Ray cluster, on one processor each.

    `address` is `auto`, `HOST:PORT`, or `local` for a cluster on this machine that ends with the search. `gpus` is the
    share of a GPU for each child. Raises `InputError` if no cluster answers, and `MissingExtraError` without Ray.
    """

    def __init__(
        self, trainer: Trainer, address: str, workers: int | None, patience: Patience, seed: int = 0, gpus: float = 0.0
    ) -> None:
        self._cluster = ExitStack()
        self._ray = ray = self._cluster.enter_context(cluster(address, "searching on a cluster"))
        # Ray must not retry: attempts are counted here.
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_train)
        resources = ray.cluster_resources()
        room = int(resources.get("GPU", 0) / gpus) if gpus else int(resources.get("CPU", 1))
        self.workers = workers or max(room, 1)
        self._trainer, self._patience, self._seed, self._gpus = trainer, patience, seed, gpus
        self._running: set[Any] = set()
        self._lock, self._closed, self._reported = threading.Lock(), False, False

    def train(self, cell: CellSpec) -> Child:
        """Train a cell as a task, and wait for the result."""
        attempt = partial(self._attempt, cell)
        return with_patience(attempt, self._patience, self._trainer.chance, self._seed, resumes=False)

    def _attempt(self, cell: CellSpec, started: Callable[[], None]) -> Child:
        with self._lock:
            if self._closed:
                raise InputError("the search was stopped")
            task = self._task.remote(self._trainer, cell)
            self._running.add(task)
        try:
            # Waiting for a machine, starting a process, and reading the images have no time limit.
            while not self._ray.wait([task], timeout=_SILENCE)[0]:
                self._report_waiting()
            self._ray.get(next(task))
            started()
            done, _ = self._ray.wait([task], timeout=self._patience.timeout)
            if not done:
                self._ray.cancel(task, force=True)
                raise TooLongError(f"not done within {self._patience.timeout:g} s")
            return child_or_error(self._ray.get(next(task)))
        except self._ray.exceptions.RayError as error:
            if self._closed:
                raise InputError("the search was stopped") from error
            raise LostError(str(error).partition("\n")[0]) from error
        finally:
            with self._lock:
                self._running.discard(task)

    def _report_waiting(self) -> None:
        """Log once why a task does not start. It keeps waiting, because a machine may join the cluster."""
        with self._lock:
            if self._closed or self._reported:
                return
            self._reported = True
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(has.get("CPU", 0) >= 1 and has.get("GPU", 0) >= self._gpus for has in machines):
            log.info("all machines of the cluster are busy: the search waits for one")
        else:
            log.warning(
                "no machine of the cluster has 1 processor and %g GPUs for a child: the search waits until one joins; "
                "press Ctrl-C to stop it, and use another --gpus or another cluster", self._gpus,
            )  # fmt: skip

    def close(self) -> None:
        """Cancel all tasks, and disconnect from the cluster."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for task in running:
            self._ray.cancel(task, force=True)
        self._cluster.close()


def _train(trainer: Trainer, cell: CellSpec) -> Iterator[Reply | None]:
    """Yield None when training starts, then the reply."""
    train = _prepared(trainer)
    yield None
    yield reply_of(train, cell, lambda: None)


@lru_cache(maxsize=1)
def _prepared(trainer: Trainer) -> Train:
    """Return a function that trains cells; it is prepared once per process of the cluster."""
    return prepare(trainer)
