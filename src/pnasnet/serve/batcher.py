"""One engine for many requests: whenever the engine is free, it runs the waiting images as one batch."""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import PnasnetError
from ..support.contexts import contextmanager
from ..support.typed import whole_number
from .errors import BusyError, DrainingError, EngineError

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
RunEngine = Callable[[Floats, str], Floats]
"""From images [n, height, width, 3] and an endpoint to the endpoint's rows [n, ...]."""


class EngineCall(NamedTuple):
    """A call of the engine with one batch. `start` and `end` are in nanoseconds, as from `time.time_ns`."""

    start: int
    end: int
    images: int
    error: str = ""
    """The error message for clients; empty if the call succeeded."""


class _Done(NamedTuple):
    row: Floats | None
    call: EngineCall


@dataclass(frozen=True)
class _Item:
    image: Floats
    endpoint: str
    done: "asyncio.Future[_Done]"


class Batcher:
    """Collects images of many clients into batches for one engine.

    There is no timer: a free engine runs the waiting images at once, up to `batch_size`, one of each client in turn.
    Images of cancelled requests are dropped. Call all methods from one event loop; the engine runs in a thread.

    Attributes:
        accepted: number of images that are reserved, waiting or running.
        draining: whether new images are refused.
    """

    def __init__(
        self,
        run: RunEngine,
        image_bytes: int,
        *,
        batch_size: int = 8,
        most_images: int = 256,
        most_bytes: int = 512 << 20,
        observe: Callable[[int], None] = lambda images: None,
        waited: Callable[[int, EngineCall], None] = lambda begin, call: None,
    ) -> None:
        """Limit the images accepted at a time.

        Args:
            run: the engine; called in a thread.
            image_bytes: bytes of an image as network input.
            batch_size: limit of the images per call of `run`.
            most_images: limit of the number of accepted images.
            most_bytes: limit of their bytes.
            observe: called with the size of each batch.
            waited: called for each image, in the task of its request, with the time of its submission
                (`time.time_ns`) and the call of its batch, failed or not.

        Raises:
            InputError: `batch_size` is not a whole number from 1 up.
        """
        self._batch_size = whole_number("batch_size", batch_size)
        self._run, self._observe, self._waited = run, observe, waited
        self._capacity = max(1, min(most_images, most_bytes // max(image_bytes, 1)))
        self._clients: OrderedDict[str, deque[_Item]] = OrderedDict()
        self._arrived = asyncio.Event()
        self.accepted, self.draining = 0, False

    def fits(self, count: int) -> bool:
        """Return whether `count` more images would be accepted; if no others are, any number is."""
        return not self.accepted or self.accepted + count <= self._capacity

    @contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Accept `count` images, all or none, until the end of the block.

        Raises `BusyError` unless `fits`, and `DrainingError`.
        """
        if self.draining:
            raise DrainingError("the server is shutting down: try another server")
        if not self.fits(count):
            raise BusyError(f"{self.accepted:,} images are waiting, and {count:,} more do not fit: try again")
        self.accepted += count
        try:
            yield
        finally:
            self.accepted -= count

    async def submit(self, image: Floats, endpoint: str, client: str) -> Floats:
        """Return the endpoint's row [...] for an image [height, width, 3]. Call it within `reserve`.

        Raises `EngineError` if the engine failed on its batch.
        """
        begin, item = time.time_ns(), _Item(image, endpoint, asyncio.get_running_loop().create_future())
        self._clients.setdefault(client, deque()).append(item)
        self._arrived.set()
        row, call = await item.done
        self._waited(begin, call)
        if row is None:
            raise EngineError(call.error)
        return row

    async def work(self) -> None:
        """Run batches until cancelled."""
        with ThreadPoolExecutor(1, "engine") as thread:
            while True:
                batch = self._take()
                if batch:
                    await self._answer(batch, thread)
                else:
                    self._arrived.clear()
                    await self._arrived.wait()

    def _take(self) -> list[_Item]:
        """Remove the next batch from the queue: images of one endpoint, one of each client in turn."""
        batch = list[_Item]()
        skipped = list[tuple[str, deque[_Item]]]()
        while self._clients and len(batch) < self._batch_size:
            client, items = self._clients.popitem(last=False)
            while items and items[0].done.done():  # its client has left
                items.popleft()
            if not items:
                continue
            if batch and items[0].endpoint != batch[0].endpoint:
                skipped.append((client, items))
                continue
            batch.append(items.popleft())
            if items:
                self._clients[client] = items
        for client, items in reversed(skipped):  # skipped clients are first in the next batch
            self._clients[client] = items
            self._clients.move_to_end(client, last=False)
        return batch

    async def _answer(self, batch: list[_Item], thread: ThreadPoolExecutor) -> None:
        """Run a batch, and set the result of each image: its row, or the engine's error."""
        self._observe(len(batch))
        rows, error, start = None, "", time.time_ns()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(thread, self._compute, batch)
        except Exception as failure:  # an error of the engine concerns this batch alone
            log.exception("the engine failed on a batch of %d", len(batch))
            error = f"the engine failed: {failure if isinstance(failure, PnasnetError) else type(failure).__name__}"
        call = EngineCall(start, time.time_ns(), len(batch), error)
        for index, item in enumerate(batch):
            if not item.done.done():
                item.done.set_result(_Done(None if rows is None else rows[index], call))

    def _compute(self, batch: list[_Item]) -> Floats:
        rows = self._run(np.stack([item.image for item in batch]), batch[0].endpoint)
        if len(rows) != len(batch):
            raise PnasnetError(f"{len(rows)} rows for {len(batch)} images")
        return rows
