"""What all engines share: what they are asked to run, and how they are called."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import Plan
from ..errors import InputError, UnknownNameError, WeightsMismatchError
from ..support.text import some_of

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Job:
    """What an engine is to run, and how."""

    plan: Plan
    weights: Callable[[], Weights]
    """Gives TF-Slim's variable names to arrays in TensorFlow's layout; called only if nothing usable is cached."""
    weights_checksum: str | None = None
    """What identifies the weights in the cache; None for weights that nothing is to be cached of."""
    outputs: tuple[str, ...] = ("global_pool",)
    """Endpoints to compute."""
    precision: str = "float32"
    device: str | None = None
    """Where to run, in the engine's own terms (`CPU`, `cuda:1`); None for the engine's choice."""
    threads: int | None = None
    """Threads of the CPU; None for one per core."""
    cache_dir: Path | None = None
    """Where compiled models are kept; None for `pnasnet.paths.cache_dir()`."""

    def __post_init__(self) -> None:
        """Raise `UnknownNameError` or `InputError` for what no engine could do."""
        known = list(self.plan.endpoints())
        for name in self.outputs:
            if name not in known:
                raise UnknownNameError.of("endpoint", name, known)
        if not self.outputs:
            raise InputError(f"an engine computes at least one endpoint; choose from: {', '.join(known)}")
        if self.precision not in PRECISIONS:
            raise UnknownNameError.of("precision", self.precision, PRECISIONS)
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads must be at least 1, not {self.threads}")

    def read_weights(self) -> Weights:
        """Return the weights. Raises `WeightsMismatchError` where variables are missing: they would be random."""
        weights = self.weights()
        missing = sorted(self.plan.variables().keys() - weights.keys())
        if missing:
            raise WeightsMismatchError(f"the weights lack {len(missing)} variables of the network: {some_of(missing)}")
        return weights


class Engine(ABC):
    """A network made ready to run; a context manager that closes itself.

    Any thread may call `run`; calls at the same time take turns, since each uses all the cores it was given.

    Attributes:
        name: how `create` calls this kind of engine.
        description: the library, device, precision and threads, for a person.
        outputs: the endpoints that `run` returns.

    """

    name: str
    description: str

    def __init__(self, job: Job) -> None:
        """Make ready what `job` asks for; the subclasses load the network."""
        self.outputs = job.outputs
        self._lock, self._closed = threading.Lock(), False
        self._image_shape = (*job.plan.spec.image_size, 3)
        endpoints = job.plan.endpoints()
        self._output_shapes = {name: endpoints[name] for name in job.outputs}

    def run(self, images: Floats) -> dict[str, Floats]:
        """Run a batch of any size; what a vector is in depends on rounding at most (on OpenVINO not at all).

        Args:
            images: [batch, height, width, 3] float32 in [0, 1]; an empty batch has empty results.

        Returns:
            The outputs by endpoint: maps as [batch, height, width, channels], the others [batch, length], float32.

        Raises:
            InputError: images of another shape, or the engine is closed.
            PnasnetError: the engine failed, such as for want of memory.

        """
        if images.shape[1:] != self._image_shape:
            height, width, _ = self._image_shape
            raise InputError(f"images must be [batch, {height}, {width}, 3], not {list(images.shape)}")
        if not len(images):
            return {name: np.empty((0, *shape), np.float32) for name, shape in self._output_shapes.items()}
        with self._lock:
            if self._closed:
                raise InputError(f"the {self.name} engine is closed; create another one")
            return self._run(np.require(images, np.float32, ["C", "W"]))  # torch wants to be able to write

    @abstractmethod
    def _run(self, images: Floats) -> dict[str, Floats]:
        """Run a batch of at least one image of the right shape."""

    def close(self) -> None:
        """Let go of the network's memory; the engine cannot run again."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._release()

    def _release(self) -> None:  # noqa: B027 (not every engine holds something)
        """Let go of what the engine holds."""

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the engine."""
        self.close()
