"""Keeps a GPU busy: copies batches to it while it computes, and launches a network as one recorded graph.

Both are written against `Card`, whose implementation for CUDA is in `cuda_card`; tests run them on the CPU.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import torch
from torch import Tensor

from .base import Floats

log = logging.getLogger(__name__)

TensorOutputs = dict[str, Tensor]
Forward = Callable[[Tensor], TensorOutputs]

LANES = 2
"""Number of batches on their way: one computes, and the next one is copied."""
_MOST_GRAPHS = 16
"""Each graph keeps its input; its maps share one pool of memory with the others'."""


class Card(Protocol):
    """A GPU as `Staging` and `Replay` use it."""

    def buffers(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return float32 memory of the host that the GPU reads directly, and as much of the GPU's."""

    def copy(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        """Start to copy beside the computation. Return a function that makes the computation wait for the copy."""

    def record(self, run: Callable[[], TensorOutputs]) -> tuple[Callable[[], None], TensorOutputs]:
        """Record what `run` launches. Return a function that launches it again, and the outputs that it overwrites.

        Raises `RuntimeError` if it cannot be recorded.
        """

    def free(self) -> None:
        """Return unused memory to the GPU."""


@dataclass(frozen=True)
class Staged:
    """A batch on its way to the card."""

    images: Tensor
    """Not complete before `wait`."""
    wait: Callable[[], None]
    """Makes the computation wait for the images."""


class _Lane:
    """A buffer in the host's memory and one on the card, as large as the largest batch so far."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._buffers: tuple[Tensor, Tensor] | None = None

    def stage(self, images: Floats) -> Staged:
        """Start to copy a batch, in place of the one before."""
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
        """Start to copy a batch; its buffers are its own within the block. Waits while all lanes are in use."""
        lane = self._free.get()
        try:
            yield lane.stage(images)
        except BaseException:
            lane.clear()  # memory may be what is lacking
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
    """Runs a network; from the second batch of a size on by a recorded graph, which the host launches at once.

    The first batch of a size runs kernel by kernel, which also chooses the kernels to record. Outputs are valid until
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
        if size not in self._seen or not self._works or len(self._recordings) >= _MOST_GRAPHS:
            return None
        own = images.clone()
        try:
            launch, outputs = self._card.record(lambda: self._forward(own))
        except RuntimeError as error:
            self._works = False
            reason = str(error).splitlines()[0]
            log.warning("no CUDA graph can be recorded (%s): kernels are launched one by one, slower", reason)
            return None
        self._recordings[size] = _Recording(own, launch, outputs)
        return self._recordings[size]

    def clear(self) -> None:
        """Forget all graphs; their sizes are recorded again when they recur."""
        self._recordings.clear()
        self._seen.clear()
