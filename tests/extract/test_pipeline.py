"""Order, batches, failures and limits of the pipeline."""

import gc
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from weakref import WeakSet

import numpy as np
import pytest
from numpy.typing import NDArray

from pnasnet.errors import ImageError, OutOfMemoryError
from pnasnet.extract import Batch, pipeline
from pnasnet.extract.pipeline import AHEAD_BYTES, Prepared, Stages, map_ahead, run_pipeline
from pnasnet.pictures import Picture

from tests.helpers.waiting import until

Images = tuple[NDArray[np.float32], ...]


def load(picture: Picture) -> Prepared:
    """Decode an image whose pixels are its name, a number, in an uneven time; "bad..." fails."""
    time.sleep(hash(picture.name) % 3 / 1000)
    if picture.name.startswith("bad"):
        raise ImageError(f"{picture.name}: damaged")
    return Prepared((np.full((2, 2, 3), float(picture.name), np.float32),), int(picture.name), 7)


def named(paths: Iterable[str]) -> Iterator[Picture]:
    return (Picture(path, lambda: b"") for path in paths)


def numbered(count: int) -> Iterator[Picture]:
    return named(map(str, range(count)))


def infer(images: Images) -> dict[str, NDArray[np.float32]]:
    return {"embedding": np.ascontiguousarray(images[0][:, 0, 0, :2])}


def run(paths: list[str], batch_size: int = 4) -> list[Batch]:
    return list(run_pipeline(named(paths), load, infer, batch_size=batch_size, decoders=3))


def test_rows_keep_the_order_and_batches_are_filled_across_failures() -> None:
    paths = [f"bad{i}" if i % 5 == 2 else str(i) for i in range(30)]
    batches = run(paths)
    assert [row.path for batch in batches for row in batch.rows] == paths
    assert [len(batch.vectors) for batch in batches] == [4] * 6
    for batch in batches:
        good = [row for row in batch.rows if row.error is None]
        np.testing.assert_array_equal(batch.vectors[:, 0], [float(row.path) for row in good])
        assert all((row.width, row.height) == (int(row.path), 7) for row in good)
    assert [row.error for row in batches[0].rows if row.error] == ["bad2: damaged"]


def test_a_long_sequence_of_failures_is_yielded() -> None:
    batches = run(["1", *(f"bad{i}" for i in range(20))])
    assert [(len(batch.rows), len(batch.vectors)) for batch in batches] == [(16, 1), (5, 0)]


def test_no_images_no_batches() -> None:
    assert run([]) == []


def test_the_number_in_flight_is_bounded() -> None:
    read = 0

    def reading() -> Iterator[Picture]:
        nonlocal read
        for picture in numbered(10_000):
            read += 1
            yield picture

    running = run_pipeline(reading(), load, infer, batch_size=4, decoders=3)
    next(running)
    assert read <= 4 + 2 * 4 + 3 + 1
    running.close()
    assert read <= 20
    assert not [thread for thread in threading.enumerate() if "pnasnet" in thread.name]


def test_stopping_early_waits_only_for_started_work() -> None:
    started: list[str] = []

    def slow(picture: Picture) -> Prepared:
        started.append(picture.name)
        time.sleep(0.02)
        return load(picture)

    running = run_pipeline(numbered(100), slow, infer, batch_size=4, decoders=1)
    next(running)
    running.close()
    assert len(started) <= 4 + 2  # of the 13 handed to the decoder


def test_decoding_continues_while_the_engine_works() -> None:
    engine_works, second_batch = threading.Event(), threading.Semaphore(0)

    def decode(picture: Picture) -> Prepared:
        if 8 <= int(picture.name) < 16:
            assert engine_works.wait(60)
            second_batch.release()
        return load(picture)

    def slow(images: Images) -> dict[str, NDArray[np.float32]]:
        engine_works.set()
        if images[0].flat[0] == 0:
            assert all(second_batch.acquire(timeout=60) for _ in range(8))
        return infer(images)

    assert sum(len(batch.rows) for batch in run_pipeline(numbered(40), decode, slow, batch_size=8, decoders=2)) == 40


def test_an_error_of_the_engine_ends_the_run_and_the_threads() -> None:
    def broken(images: Images) -> dict[str, NDArray[np.float32]]:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        list(run_pipeline(named(["1"] * 100), load, broken, batch_size=4, decoders=3))
    assert not [thread for thread in threading.enumerate() if "pnasnet" in thread.name]


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_so_many_batches_are_with_the_networks_at_once_and_rows_stay_in_order(concurrency: int) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def slow(images: Images) -> dict[str, NDArray[np.float32]]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        until(lambda: most >= concurrency)
        time.sleep(0.3 if images[0].flat[0] == 0 else 0.1)  # the first one is the slowest
        with lock:
            running -= 1
        return infer(images)

    paths = [str(i) for i in range(22)]
    together = list(run_pipeline(named(paths), load, slow, batch_size=4, decoders=3, concurrency=lambda: concurrency))
    assert most == concurrency
    for one, other in zip(together, run(paths, batch_size=4), strict=True):
        assert [row.path for row in one.rows] == [row.path for row in other.rows]
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_the_networks_are_not_asked_if_no_image_can_be_decoded() -> None:
    def asked() -> int:
        pytest.fail("a network was loaded")

    (batch,) = run_pipeline(named(["bad1"]), load, infer, batch_size=4, decoders=1, concurrency=asked)
    assert batch.rows[0].error


def test_a_single_image_that_is_too_large_for_the_device_ends_the_run() -> None:
    def none(images: Images) -> dict[str, NDArray[np.float32]]:
        raise OutOfMemoryError("not enough memory on the device")

    with pytest.raises(OutOfMemoryError):
        list(run_pipeline(numbered(2), load, none, batch_size=2, decoders=1))


def test_the_slowest_stage_is_named() -> None:
    def slow(images: Images) -> dict[str, NDArray[np.float32]]:
        time.sleep(0.1)
        return infer(images)

    def slow_load(picture: Picture) -> Prepared:
        time.sleep(0.05)
        return load(picture)

    for loader, engine, name in ((load, slow, "engine"), (slow_load, infer, "decoding")):
        stages = Stages()
        list(run_pipeline(numbered(24), loader, engine, batch_size=4, decoders=2, stages=stages))
        assert stages.bottleneck == name
        assert stages.engine > 0
        assert stages.decoding >= stages.waiting > 0


class Heavy:
    """The content of an image."""

    def __call__(self) -> bytes:
        return b""


def test_batches_do_not_keep_the_images() -> None:
    alive: WeakSet[Heavy] = WeakSet()

    def heavy() -> Iterator[Picture]:
        for number in range(20):
            content = Heavy()
            alive.add(content)
            yield Picture(str(number), content)
            del content

    batches = list(run_pipeline(heavy(), load, infer, batch_size=4, decoders=1))
    assert [row.path for batch in batches for row in batch.slice(1, 3).rows] == [
        str(number) for number in range(20) if number % 4 in (1, 2)
    ]
    gc.collect()
    assert not alive


def test_the_bytes_in_flight_are_bounded() -> None:
    """Images that hold their bytes wait for a decoder one at a time if two exceed the limit."""
    fetched = 0

    def heavy() -> Iterator[Picture]:
        nonlocal fetched
        for picture in numbered(12):
            fetched += 1
            yield replace(picture, held=AHEAD_BYTES - 1)

    done = 0
    for _ in map_ahead(load, heavy(), workers=1, ahead=10):
        done += 1
        assert fetched - done <= 2
    assert done == 12


def test_slow_images_do_not_delay_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_BATCH_SECONDS", 0.0)
    assert [len(batch.rows) for batch in run(["1", "bad", "2"])] == [1, 1, 1]
