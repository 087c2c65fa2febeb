"""Batches for one engine: who is in them, in which order, and what happens when they fail."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import pytest

from pnasnet.errors import InputError
from pnasnet.serve.batcher import Batcher, Floats
from pnasnet.serve.errors import BusyError, DrainingError, EngineError


class Engine:
    """Returns each image's first number; runs only while its gate is open, and notes its batches."""

    def __init__(self) -> None:
        self.gate, self.batches = threading.Event(), list[list[float]]()

    def __call__(self, images: Floats, endpoint: str) -> Floats:
        assert self.gate.wait(20)
        numbers = images[:, 0, 0, 0]
        self.batches.append(numbers.tolist())
        if (numbers == 13).any():
            raise RuntimeError("unlucky")
        return numbers[:, None] * (1 if endpoint == "a" else 10)


def image(number: float) -> Floats:
    return np.full((1, 1, 3), number, np.float32)


@asynccontextmanager
async def working(engine: Engine, **options: Any) -> AsyncIterator[Batcher]:
    batcher = Batcher(engine, 12, **options)
    worker = asyncio.create_task(batcher.work())
    try:
        yield batcher
    finally:
        engine.gate.set()
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


async def submit(batcher: Batcher, number: float, endpoint: str = "a", client: str = "one") -> float:
    return float((await batcher.submit(image(number), endpoint, client))[0])


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 30)

    asyncio.run(bounded())


async def started(batcher: Batcher, number: float) -> "asyncio.Task[float]":
    """Occupy the engine with one image, so that others wait."""
    first = asyncio.create_task(submit(batcher, number, client="first"))
    await asyncio.sleep(0.05)
    return first


def test_a_free_engine_takes_what_waits_and_splits_what_is_too_much() -> None:
    async def test() -> None:
        engine = Engine()
        async with working(engine, batch_size=4) as batcher:
            first = await started(batcher, 0)
            waiting = [asyncio.create_task(submit(batcher, n)) for n in range(1, 7)]
            await asyncio.sleep(0)
            engine.gate.set()
            assert await first == 0
            assert await asyncio.gather(*waiting) == [1, 2, 3, 4, 5, 6]
            assert engine.batches == [[0], [1, 2, 3, 4], [5, 6]]

    run(test)


def test_clients_take_turns() -> None:
    async def test() -> None:
        engine = Engine()
        async with working(engine, batch_size=2) as batcher:
            first = await started(batcher, 0)
            many = [asyncio.create_task(submit(batcher, n, client="many")) for n in range(1, 6)]
            await asyncio.sleep(0)
            few = asyncio.create_task(submit(batcher, 100, client="few"))
            await asyncio.sleep(0)
            engine.gate.set()
            await asyncio.gather(first, few, *many)
            assert engine.batches == [[0], [1, 100], [2, 3], [4, 5]]

    run(test)


def test_a_batch_has_one_endpoint_and_the_other_is_next() -> None:
    async def test() -> None:
        engine = Engine()
        async with working(engine, batch_size=2) as batcher:
            first = await started(batcher, 0)
            named = [(1, "a", "x"), (2, "b", "y"), (3, "a", "z"), (4, "a", "x"), (5, "a", "z")]
            tasks = [asyncio.create_task(submit(batcher, *each)) for each in named]
            await asyncio.sleep(0)
            engine.gate.set()
            await first
            assert await asyncio.gather(*tasks) == [1, 20, 3, 4, 5]
            assert engine.batches == [[0], [1, 3], [2], [4, 5]]

    run(test)


def test_images_of_clients_that_left_are_not_computed() -> None:
    async def test() -> None:
        engine = Engine()
        async with working(engine) as batcher:
            first = await started(batcher, 0)
            left, stays = (asyncio.create_task(submit(batcher, n)) for n in (1, 2))
            await asyncio.sleep(0)
            left.cancel()
            engine.gate.set()
            await asyncio.gather(first, stays)
            assert engine.batches == [[0], [2]]

    run(test)


def test_an_engine_error_fails_its_batch_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        engine = Engine()
        engine.gate.set()
        async with working(engine, batch_size=2) as batcher:
            tasks = [asyncio.create_task(submit(batcher, n)) for n in (13, 1, 2)]
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [EngineError, EngineError, float]
            assert str(results[0]) == "the engine failed: RuntimeError"
            assert await submit(batcher, 3) == 3

    run(test)
    assert "the engine failed on a batch of 2" in caplog.text


@pytest.mark.parametrize("bounds", [{"most_images": 3}, {"most_bytes": 3 * 12}])
def test_images_are_accepted_whole_or_refused(bounds: dict[str, Any]) -> None:
    batcher = Batcher(Engine(), 12, **bounds)
    with batcher.reserve(2):
        with pytest.raises(BusyError, match="2 images are waiting, and 2 more do not fit"), batcher.reserve(2):
            pass
        assert batcher.accepted == 2
        with batcher.reserve(1):
            assert batcher.accepted == 3
    assert batcher.accepted == 0
    with batcher.reserve(9):  # alone, it is never refused
        pass


def test_a_server_that_is_ending_accepts_nothing() -> None:
    batcher = Batcher(Engine(), 12)
    batcher.draining = True
    with pytest.raises(DrainingError), batcher.reserve(1):
        pass


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "8"])
def test_a_batch_has_at_least_one_image(batch_size: Any) -> None:
    with pytest.raises(InputError, match=r"^batch_size must be "):
        Batcher(Engine(), 12, batch_size=batch_size)
