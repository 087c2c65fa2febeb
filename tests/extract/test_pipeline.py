"""Order, batches, failures and bounds of the pipeline."""

import gc
import threading
import time
from collections.abc import Iterator
from weakref import WeakSet

import numpy as np
import pytest
from numpy.typing import NDArray

from pnasnet.errors import ImageError, OutOfMemoryError
from pnasnet.extract import Batch, Prepared, Stages, run_pipeline

Images = tuple[NDArray[np.float32], ...]


def load(path: str) -> Prepared:
    """Take a number for a picture, and an uneven while to load it; "bad..." fails."""
    time.sleep(hash(path) % 3 / 1000)
    if path.startswith("bad"):
        raise ImageError(f"{path}: damaged")
    return Prepared((np.full((2, 2, 3), float(path), np.float32),), int(path), 7)


def infer(images: Images) -> dict[str, NDArray[np.float32]]:
    return {"embedding": np.ascontiguousarray(images[0][:, 0, 0, :2])}


def run(paths: list[str], batch_size: int = 4) -> list[Batch]:
    return list(run_pipeline(paths, load, infer, batch_size=batch_size, decoders=3))


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


def test_a_long_stretch_of_failures_is_yielded() -> None:
    batches = run(["1", *(f"bad{i}" for i in range(20))])
    assert [(len(batch.rows), len(batch.vectors)) for batch in batches] == [(16, 1), (5, 0)]


def test_no_pictures_no_batches() -> None:
    assert run([]) == []


def test_only_a_bounded_number_is_on_its_way() -> None:
    read = 0

    def paths() -> Iterator[str]:
        nonlocal read
        for index in range(10_000):
            read += 1
            yield str(index)

    pipeline = run_pipeline(paths(), load, infer, batch_size=4, decoders=3)
    next(pipeline)
    assert read <= 4 + 2 * 4 + 3 + 1
    pipeline.close()
    assert read <= 20
    assert not [thread for thread in threading.enumerate() if "pnasnet" in thread.name]


def test_stopping_early_waits_only_for_started_work() -> None:
    begun: list[str] = []

    def slow(path: str) -> Prepared:
        begun.append(path)
        time.sleep(0.02)
        return load(path)

    pipeline = run_pipeline([str(i) for i in range(100)], slow, infer, batch_size=4, decoders=1)
    next(pipeline)
    pipeline.close()
    assert len(begun) <= 4 + 2  # of the 13 that were handed to the decoder


def test_decoding_goes_on_while_the_engine_works() -> None:
    seen: list[str] = []
    during: list[int] = []

    def record(path: str) -> Prepared:
        seen.append(path)
        return load(path)

    def slow(images: Images) -> dict[str, NDArray[np.float32]]:
        before = len(seen)
        time.sleep(0.1)
        during.append(len(seen) - before)
        return infer(images)

    list(run_pipeline([str(i) for i in range(40)], record, slow, batch_size=8, decoders=2))
    assert during[0] >= 8  # the next batch is ready when the first is done


def test_an_error_of_the_engine_ends_the_run_and_the_threads() -> None:
    def broken(images: Images) -> dict[str, NDArray[np.float32]]:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        list(run_pipeline(["1"] * 100, load, broken, batch_size=4, decoders=3))
    assert not [thread for thread in threading.enumerate() if "pnasnet" in thread.name]


def test_a_batch_that_is_too_large_for_the_device_is_halved() -> None:
    def small(images: Images) -> dict[str, NDArray[np.float32]]:
        if len(images[0]) > 2:
            raise OutOfMemoryError("not enough memory on the device")
        return infer(images)

    stages, paths = Stages(), [str(i) for i in range(14)]
    halved = list(run_pipeline(paths, load, small, batch_size=7, decoders=3, stages=stages))
    whole = run(paths, batch_size=7)
    for one, other in zip(halved, whole, strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)
    assert stages.memory_splits == 2 * 3  # 7 = 3 + 4 = 1 + 2 + 2 + 2


def test_a_single_image_that_is_too_large_for_the_device_ends_the_run() -> None:
    def none(images: Images) -> dict[str, NDArray[np.float32]]:
        raise OutOfMemoryError("not enough memory on the device")

    with pytest.raises(OutOfMemoryError):
        list(run_pipeline(["1", "2"], load, none, batch_size=2, decoders=1))


def test_the_slowest_stage_is_named() -> None:
    def slow(images: Images) -> dict[str, NDArray[np.float32]]:
        time.sleep(0.02)
        return infer(images)

    def slow_load(path: str) -> Prepared:
        time.sleep(0.01)
        return load(path)

    for loader, engine, name in ((load, slow, "engine"), (slow_load, infer, "decoding")):
        stages = Stages()
        list(run_pipeline([str(i) for i in range(24)], loader, engine, batch_size=4, decoders=2, stages=stages))
        assert stages.bottleneck == name
        assert stages.engine > 0
        assert stages.decoding >= stages.waiting > 0


class Heavy:
    """Stands for a picture that holds its bytes."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_batches_keep_the_places_of_pictures_and_not_the_pictures() -> None:
    alive: WeakSet[Heavy] = WeakSet()

    def pictures() -> Iterator[Heavy]:
        for number in range(20):
            picture = Heavy(number)
            alive.add(picture)
            yield picture
            del picture

    pipeline = run_pipeline(
        pictures(),
        lambda picture: load(str(picture.number)),
        infer,
        batch_size=4,
        decoders=1,
        name=lambda picture: str(picture.number),
        place=lambda picture: picture.number,
    )
    batches = list(pipeline)
    assert [place for batch in batches for place in batch.places] == list(range(20))
    assert [place for batch in batches for place in batch.slice(1, 3).places] == [
        n for n in range(20) if n % 4 in (1, 2)
    ]
    gc.collect()
    assert not alive
