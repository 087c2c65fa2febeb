"""`Engine`, the base class of engines, and `Job`, what an engine is created for."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import Plan
from ..errors import (
    InputError,
    OutOfMemoryError,
    PnasnetError,
    UnknownNameError,
    WeightsMismatchError,
    choose_one_of,
)
from ..support.contexts import contextmanager
from ..support.system import lacks_memory
from ..support.text import counted, some_of
from ..weights.quantized import QuantizedGraph
from .options import DEFAULTS, EngineOptions

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Job:
    """A network, its weights, and how to run it. Raises `UnknownNameError` or `InputError` for invalid endpoints.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.engines import Job
        >>> model = Module("pnasnet_tiny").model
        >>> Job(model.plan, model.arrays, outputs=("global_pool", "Cell_1")).outputs
        ('global_pool', 'Cell_1')
        >>> Job(model.plan, model.arrays).read_weights()["final_layer/FC/weights"].shape
        (960, 10)
    """

    plan: Plan
    weights: Callable[[], Weights]
    """Returns float arrays in TensorFlow's layout by TF-Slim's names; not called if the compiled model is cached."""
    options: EngineOptions = DEFAULTS
    weights_checksum: str | None = None
    """Identifies the weights in the cache; None disables the cache."""
    outputs: tuple[str, ...] = ("global_pool",)
    """Endpoints to compute."""
    graph: QuantizedGraph | None = None
    """A quantized graph to run instead of the weights."""

    def __post_init__(self) -> None:
        known = list(self.plan.endpoints())
        for name in self.outputs:
            if name not in known:
                raise UnknownNameError.of("endpoint", name, known)
        if not self.outputs:
            raise InputError(f"an engine computes at least one endpoint: {choose_one_of(known)}")

    def read_weights(self) -> Weights:
        """Return the weights. Raises `WeightsMismatchError` if a variable is missing."""
        weights = self.weights()
        missing = sorted(self.plan.variables().keys() - weights.keys())
        if missing:
            raise WeightsMismatchError(f"the weights lack {len(missing)} variables of the network: {some_of(missing)}")
        return weights


@contextmanager
def library_errors(library: str, action: str, reason: Callable[[Exception], str]) -> Iterator[None]:
    """Turn errors of an engine's library into one line: `OutOfMemoryError`, or `PnasnetError` with the reason."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if lacks_memory(error):
            raise _too_little(action) from error
        raise PnasnetError(f"{library} cannot {action}: {reason(error)}") from error


def _too_little(action: str) -> OutOfMemoryError:
    return OutOfMemoryError(f"not enough memory on the device to {action}: use a smaller batch or a smaller model")


class ClosedEngineError(InputError):
    """An engine that has been closed."""


class Engine(ABC):
    """A network ready to run; a context manager that closes itself.

    Any thread may call `run`. Simultaneous calls take turns, because each uses all of the engine's threads.

    Attributes:
        name: the engine's name in `EngineOptions`.
        description: library, device, precision and threads, in one line.
        outputs: the endpoints that `run` returns.
        concurrency: how many simultaneous calls keep the device busy: 2 if it computes one batch while the next one is
            copied to it.
        memory_splits: number of times that a batch was halved because memory was insufficient.

    Example:
        >>> import numpy as np
        >>> from pnasnet import Module
        >>> engine = Module("pnasnet_tiny").engine
        >>> engine.run(np.zeros((1, 32, 32, 3), np.float32))["global_pool"].shape
        (1, 960)
        >>> engine.close()
        >>> engine.closed
        True
    """

    name: str
    description: str
    concurrency: int = 1

    def __init__(self, job: Job) -> None:
        self.outputs = job.outputs
        self._lock, self._closed = threading.Lock(), False
        self._image_shape = (*job.plan.spec.image_size, 3)
        endpoints = job.plan.endpoints()
        self._output_shapes = {name: endpoints[name] for name in job.outputs}
        self._most_images: int | None = None
        self.memory_splits = 0

    def run(self, images: Floats) -> dict[str, Floats]:
        """Run a batch of any size. A vector does not depend on its batch, except for rounding (on OpenVINO not at all).

        If memory is insufficient, the batch is halved until it fits, and so are later batches; this logs a warning.

        Args:
            images: [batch, height, width, 3] float32 in [0, 1]; an empty batch has empty results.

        Returns:
            float32 outputs by endpoint: maps [batch, height, width, channels], all others [batch, length].

        Raises:
            InputError: images of another shape, or the engine is closed.
            OutOfMemoryError: memory is insufficient for a single image.
            PnasnetError: the engine failed.
        """
        if images.shape[1:] != self._image_shape:
            height, width, _ = self._image_shape
            raise InputError(f"images must be [batch, {height}, {width}, 3], not {list(images.shape)}")
        if not len(images):
            return {name: np.empty((0, *shape), np.float32) for name, shape in self._output_shapes.items()}
        self._check_open()
        parts = list(self._run_in_parts(np.require(images, np.float32, ["C", "W"])))  # torch wants a writable array
        return parts[0] if len(parts) == 1 else {n: np.concatenate([part[n] for part in parts]) for n in self.outputs}

    def _run_in_parts(self, images: Floats) -> Iterator[dict[str, Floats]]:
        """Yield the outputs of consecutive parts of a batch: the whole batch, or as many images as fit the memory."""
        start, split = 0, False
        most = min(self._most_images or len(images), len(images))
        while start < len(images):
            part = images[start : start + most]
            try:
                with self._prepared(part) as prepared, self._turn():
                    outputs = self._run(prepared)
            except (OutOfMemoryError, MemoryError) as error:
                if len(part) == 1:
                    if isinstance(error, MemoryError):
                        raise _too_little("run 1 image") from error
                    raise
                most, split = len(part) // 2, True
                self.memory_splits += 1
            else:
                yield outputs
                start += len(part)
                continue
            # After the except block: the error, and the frames that keep the failed batch's memory, are released.
            with self._turn():
                self._free_memory()
        if split and most != self._most_images:
            self._most_images = most
            log.warning(
                "the device has too little memory for batches of %s: running %d at a time",
                counted(len(images), "image"), most,
            )  # fmt: skip

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other call runs. Raises `ClosedEngineError`."""
        with self._lock:
            self._check_open()
            yield

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedEngineError(f"the {self.name} engine is closed; create another one")

    def _prepared(self, images: Floats) -> AbstractContextManager[Any]:
        """Prepare a batch for `_run`, and release it afterwards. Called while other calls may run."""
        return nullcontext(images)

    @abstractmethod
    def _run(self, images: Any) -> dict[str, Floats]:
        """Run a batch that `_prepared` has prepared, of at least one image of the right shape.

        Raises `OutOfMemoryError` if a smaller batch may fit.
        """

    def _free_memory(self) -> None:  # noqa: B027 (not every engine can)
        """Free memory that the engine does not need."""

    @property
    def closed(self) -> bool:
        """Whether the engine has been closed."""
        return self._closed

    def close(self) -> None:
        """Free the network's memory, after a running call has ended. The engine cannot run again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    def _release(self) -> None:  # noqa: B027 (not every engine holds something)
        """Free what the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
