"""A CUDA device as `cards.Card`. Nothing here has run on a GPU yet: see docs/engines.md."""

# ruff: noqa: D102 (`Card` documents the methods)

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .cards import TensorOutputs


class CudaCard:
    """A CUDA device, streams for copies and for recording, and the memory that all graphs share."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._recording: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def buffers(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        # Allocated for the stream that writes it: memory of another stream may still be in use by that one.
        with torch.cuda.stream(self._copies):
            return torch.empty(shape, pin_memory=True), torch.empty(shape, device=self._device)

    def copy(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        copied: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)
            copied.record(self._copies)
        return lambda: torch.cuda.current_stream(self._device).wait_event(copied)

    def record(self, run: Callable[[], TensorOutputs]) -> tuple[Callable[[], None], TensorOutputs]:
        graph, computing = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        self._recording.wait_stream(computing)
        with torch.cuda.device(self._device), torch.cuda.stream(self._recording):
            run()  # cuDNN chooses kernels by measuring them, again in each thread; it must not do so while recording
            # Other threads copy meanwhile, and may allocate: that must not end the recording.
            options = {"pool": self._pool, "stream": self._recording, "capture_error_mode": "thread_local"}
            with torch.cuda.graph(graph, **options):
                outputs = run()
        computing.wait_stream(self._recording)
        return graph.replay, outputs

    def free(self) -> None:
        with torch.cuda.device(self._device):
            torch.cuda.empty_cache()
