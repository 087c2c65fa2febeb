"""Training children as Ray tasks: on one machine or on many, which all must reach the pictures by the same name."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

from ..architecture.cells import CellSpec
from ..errors import InputError
from ..support.cluster import cluster
from .evaluator import (
    Answer,
    Job,
    LostError,
    Patience,
    TooLongError,
    Train,
    answer,
    child_or_error,
    prepare,
    with_patience,
)
from .journal import Child


class RayEvaluator:
    """Trains children as tasks of a Ray cluster, one processor each."""

    def __init__(
        self, job: Job, address: str, workers: int | None, patience: Patience, seed: int = 0, gpus: float = 0.0
    ) -> None:
        """Connect to a cluster: `auto`, its address, or `local` for one of this machine that ends with the search.

        `gpus` is the share of a GPU that each child has. Raises `InputError` where no cluster is, `MissingExtraError`
        without Ray.
        """
        self._cluster = ExitStack()
        self._ray = ray = self._cluster.enter_context(cluster(address, "searching on a cluster"))
        # A lost child is begun again here, where the tries are counted.
        self._task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_train)
        has = ray.cluster_resources()
        fit = int(has.get("GPU", 0) / gpus) if gpus else int(has.get("CPU", 1))
        self.workers = workers or max(fit, 1)
        self._job, self._patience, self._seed = job, patience, seed
        self._running: set[Any] = set()
        self._lock, self._closed = threading.Lock(), False

    def train(self, cell: CellSpec) -> Child:
        """Train a cell as a task, and wait for it."""
        return with_patience(lambda: self._once(cell), self._patience, self._job.chance, self._seed)

    def _once(self, cell: CellSpec) -> Child:
        with self._lock:
            if self._closed:
                raise InputError("the search was ended")
            task = self._task.remote(self._job, cell)
            self._running.add(task)
        try:
            self._ray.get(next(task))  # it waits for a processor, starts and reads the pictures: none of that counts
            done, _ = self._ray.wait([task], timeout=self._patience.timeout)
            if not done:
                self._ray.cancel(task, force=True)
                raise TooLongError(f"not done in {self._patience.timeout:g} s")
            return child_or_error(self._ray.get(next(task)))
        except self._ray.exceptions.RayError as error:
            if self._closed:
                raise InputError("the search was ended") from error
            raise LostError(str(error).partition("\n")[0]) from error
        finally:
            with self._lock:
                self._running.discard(task)

    def close(self) -> None:
        """End all tasks, and leave the cluster."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for task in running:
            self._ray.cancel(task, force=True)
        self._cluster.close()


def _train(job: Job, cell: CellSpec) -> Iterator[Answer | None]:
    """Yield nothing when the training begins, and then what came of it."""
    train = _prepared(job)
    yield None
    yield answer(train, cell, lambda: None)


@lru_cache(maxsize=1)
def _prepared(job: Job) -> Train:
    """Return what trains cells: prepared once in each of the cluster's processes, which live on."""
    return prepare(job)
