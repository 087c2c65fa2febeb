"""A stand-in for `torch.cuda` without a GPU: streams that work only if something waits for them, events and graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self

import torch

Work = Callable[[], None]


class Stream:
    """Work to do in order. `finish` does all of it, as if the host had waited for the stream."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.work = device, list[Work]()

    def finish(self) -> None:
        while self.work:
            self.work.pop(0)()

    def wait_event(self, event: "Event") -> None:
        self.work.append(event.finish)

    def wait_stream(self, other: "Stream") -> None:
        event = Event()
        event.record(other)
        self.wait_event(event)


class Event:
    """A place in a stream. `finish` does the work before it."""

    def record(self, stream: Stream) -> None:
        self._stream, self._reached = stream, False
        stream.work.append(self._reach)

    def _reach(self) -> None:
        self._reached = True

    def finish(self) -> None:
        while not self._reached:
            self._stream.work.pop(0)()


class Graph:
    """Recorded work. `replay` gives it to the stream that is current then."""

    def __init__(self, cuda: "LazyCuda") -> None:
        self._cuda, self.work = cuda, list[Work]()

    def replay(self) -> None:
        self._cuda.current.work += self.work


class GpuTensor(torch.Tensor):
    """Memory of the GPU: asynchronous copies to it are work of the stream that is current."""

    gpu: "LazyCuda"

    def copy_(self, source: torch.Tensor, non_blocking: bool = False) -> Self:
        plain = self.as_subclass(torch.Tensor)

        def work() -> None:
            plain.copy_(source)

        if non_blocking:
            self.gpu.current.work.append(work)
        else:
            work()
        return self


class LazyCuda:
    """`torch`, as `engines.cuda_card` uses it.

    Attributes:
        computing: the stream of computations.
        current: the stream that work goes to.
        device: the number of the current device.
        allocated: the streams that were current when memory was allocated.
        emptied: the devices whose unused memory was returned.
        recordings: the options of each recording, and the device that was current.
    """

    def __init__(self, *, refuses: bool = False) -> None:
        """`refuses`: whether recording fails."""
        self.computing = self.current = Stream(torch.device("cuda", 1))
        self.device = 0
        self.allocated, self.emptied, self.recordings = list[Stream](), list[int](), list[dict[str, Any]]()
        self._refuses = refuses
        self.torch = SimpleNamespace(
            empty=self._empty,
            cuda=SimpleNamespace(
                Stream=Stream, Event=Event, CUDAGraph=lambda: Graph(self), stream=self._stream, graph=self._graph,
                device=self._device, current_stream=lambda device: self.computing, graph_pool_handle=lambda: "pool",
                empty_cache=lambda: self.emptied.append(self.device),
            ),
        )  # fmt: skip

    def _empty(
        self, shape: tuple[int, ...], *, pin_memory: bool = False, device: torch.device | None = None
    ) -> torch.Tensor:
        assert pin_memory != bool(device), "either pinned memory of the host, or the GPU's"
        self.allocated.append(self.current)
        made = torch.full(shape, torch.nan)
        if not device:
            return made
        return made.as_subclass(type("GpuTensor", (GpuTensor,), {"gpu": self}))

    @contextmanager
    def _stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def _device(self, device: torch.device) -> Iterator[None]:
        before, self.device = self.device, device.index
        yield
        self.device = before

    @contextmanager
    def _graph(self, graph: Graph, **options: Any) -> Iterator[None]:
        if self._refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recordings.append(options | {"device": self.device})
        stream = options["stream"]
        before, stream.work = stream.work, []
        with self._stream(stream):
            yield
        graph.work, stream.work = stream.work, before
