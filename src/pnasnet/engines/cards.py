"""Keeps a GPU busy: copies batches to it while it computes, and launches a network as one recorded graph.

Both use `Card`, which `cuda_card` implements for CUDA; tests use an implementation for the CPU.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import torch
from torch import Tensor

from ..support.contexts import contextmanager
from .base import Floats

log = logging.getLogger(__name__)

TensorOutputs = dict[str, Tensor]
Forward = Callable[[Tensor], TensorOutputs]

LANES = 2
"""Number of batches at a time: one is computed, and the next one is copied."""
_MAX_GRAPHS = 16
"""Limit of graphs. Each keeps its input; their maps share one pool of memory."""


class Card(Protocol):
    """A GPU as `Staging` and `Replay` use it."""

    def buffers(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return two float32 tensors: in pinned memory of the host, which the GPU reads directly, and on the GPU."""

    def copy(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        """Start a copy that runs beside the computation. Return a function that lets the computation wait for it."""

    def record(self, run: Callable[[], TensorOutputs]) -> tuple[Callable[[], None], TensorOutputs]:
        """Record the kernels that `run` launches. Return a function that launches them again, and their outputs.

        Each launch overwrites the outputs.

        Raises `RuntimeError` if it cannot be recorded.
        """

    def free(self) -> None:
        """Return unused memory to the GPU."""


@dataclass(frozen=True)
class Staged:
    """A batch on its way to the card."""

    images: Tensor
    """Complete only after `wait`."""
    wait: Callable[[], None]
    """Lets the computation wait for the images."""


class _Lane:
    """A buffer in the host's memory and one on the card, as large as the largest batch so far."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._buffers: tuple[Tensor, Tensor] | None = None

    def stage(self, images: Floats) -> Staged:
        """Start to copy a batch; it overwrites the previous one."""
        count = len(images)
        if self._buffers is None or len(self._buffers[0]) < count:
            self._buffers = None  # free the smaller ones first
            self._buffers = self._card.buffers(images.shape)
        host, device = (buffer[:count] for buffer in self._buffers)
        host.copy_(torch.from_numpy(images))
        return Staged(device, self._card.copy(host, device))

    def clear(self) -> None:
        """Free the buffers."""
        self._buffers = None


class Staging:
    """Copies batches to the card while it computes another one. Any thread may use it."""

    def __init__(self, card: Card) -> None:
        self._lanes = [_Lane(card) for _ in range(LANES)]
        self._free = SimpleQueue[_Lane]()
        for lane in self._lanes:
            self._free.put(lane)

    @contextmanager
    def staged(self, images: Floats) -> Iterator[Staged]:
        """Start to copy a batch, whose buffers are reserved within the block. Waits while all lanes are in use."""
        lane = self._free.get()
        try:
            yield lane.stage(images)
        except BaseException:
            lane.clear()  # the error may be a lack of memory
            raise
        finally:
            self._free.put(lane)

    def clear(self) -> None:
        """Free the buffers of the lanes that are not in use."""
        idle = list[_Lane]()
        with suppress(Empty):
            while True:
                idle.append(self._free.get_nowait())
        for lane in idle:
            lane.clear()
            self._free.put(lane)


@dataclass(frozen=True)
class _Recording:
    images: Tensor
    launch: Callable[[], None]
    outputs: TensorOutputs


class Replay:
    """Runs a network by recorded graphs, which the host launches at once, from the second batch of each size.

    The first batch of a size runs kernel by kernel, which also selects the kernels to record. Outputs are valid until
    the next call. Only one thread may call it at a time.
    """

    def __init__(self, forward: Forward, card: Card) -> None:
        self._forward, self._card = forward, card
        self._seen = set[int]()
        self._recordings: dict[int, _Recording] = {}
        self._works = True

    def __call__(self, images: Tensor) -> TensorOutputs:
        """Return the outputs of a batch on the card."""
        size = len(images)
        recording = self._recordings.get(size) or self._record_if_seen(images)
        self._seen.add(size)
        if recording is None:
            return self._forward(images)
        recording.images.copy_(images)
        recording.launch()
        return recording.outputs

    def _record_if_seen(self, images: Tensor) -> _Recording | None:
        size = len(images)
        if size not in self._seen or not self._works or len(self._recordings) >= _MAX_GRAPHS:
            return None
        own = images.clone()
        try:
            launch, outputs = self._card.record(lambda: self._forward(own))
        except RuntimeError as error:
            self._works = False
            reason = str(error).splitlines()[0]
            log.warning("no CUDA graph can be recorded (%s): kernels are launched one by one, which is slower", reason)
            return None
        self._recordings[size] = _Recording(own, launch, outputs)
        return self._recordings[size]

    def clear(self) -> None:
        """Remove all graphs; sizes that recur are recorded again."""
        self._recordings.clear()
        self._seen.clear()
