"""Copies beside the computation, and recorded graphs: the code for GPUs on a stand-in that does later what they do."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor

from pnasnet.engines.cards import LANES, Replay, Staging, TensorOutputs

from tests.helpers.host_card import HostCard


def numbered(number: int, count: int = 2) -> np.ndarray:
    return np.full((count, 4, 4, 3), number, np.float32)


class Network:
    """Sums images, and counts the batches that it runs kernel by kernel."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, images: Tensor) -> TensorOutputs:
        self.runs += 1
        return {"sum": images.sum((1, 2, 3))}


# Staging.


def test_a_batch_is_complete_once_it_was_waited_for() -> None:
    card = HostCard()
    with Staging(card).staged(numbered(7)) as staged:
        assert card.pending == 1
        assert torch.isnan(staged.images).all()
        staged.wait()
        np.testing.assert_array_equal(staged.images, numbered(7))


def test_the_next_batch_is_copied_while_one_computes_and_a_third_waits() -> None:
    staging, third = Staging(HostCard()), threading.Event()

    def stage() -> None:
        with staging.staged(numbered(3)):
            third.set()

    with staging.staged(numbered(1)) as first, staging.staged(numbered(2)) as second, ThreadPoolExecutor(1) as pool:
        assert LANES == 2
        waiting = pool.submit(stage)
        try:
            assert not third.wait(0.1)
            for staged, number in ((second, 2), (first, 1)):
                staged.wait()
                np.testing.assert_array_equal(staged.images, numbered(number))
        finally:
            # Leaving the blocks frees the lanes; the pool is left first, so free one by hand.
            staging._free.put(staging._lanes[0])
        waiting.result(timeout=60)
    assert third.is_set()


def test_buffers_are_used_again_unless_a_batch_is_larger() -> None:
    staging, places = Staging(HostCard()), set[int]()
    for count in (4, 4, 2, 1, 3, 4):
        with staging.staged(numbered(count, count)) as staged:
            staged.wait()
            np.testing.assert_array_equal(staged.images, numbered(count, count))
            places.add(staged.images.data_ptr())
    assert len(places) == LANES
    with staging.staged(numbered(5, 5)) as staged:
        staged.wait()
        np.testing.assert_array_equal(staged.images, numbered(5, 5))


def test_a_failed_batch_frees_its_lane_and_its_memory() -> None:
    staging = Staging(HostCard())
    for _ in range(2 * LANES):
        with pytest.raises(ValueError, match="broken"), staging.staged(numbered(1)):
            raise ValueError("broken")
    assert all(lane._buffers is None for lane in staging._lanes)


# Replay.


def test_a_size_is_recorded_when_it_recurs_and_launched_from_then_on() -> None:
    card, network = HostCard(), Network()
    replay = Replay(network, card)
    for turn in range(1, 5):
        for size in (3, 1):
            found = replay(torch.from_numpy(numbered(turn, size)))
            np.testing.assert_array_equal(found["sum"], np.full(size, turn * 48))
    assert (card.recorded, card.launched) == (2, 2 * 3)


def test_a_graph_reads_its_own_input() -> None:
    """The lane that the recorded batch came in is overwritten by later batches."""
    replay, lane = Replay(Network(), HostCard()), torch.ones(2, 4, 4, 3)
    for _ in range(2):
        replay(lane)
    other = torch.full((2, 4, 4, 3), 2.0)
    lane.fill_(torch.nan)
    np.testing.assert_array_equal(replay(other)["sum"], [96, 96])


def test_sizes_beyond_the_limit_run_kernel_by_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.engines.cards._MAX_GRAPHS", 2)
    card = HostCard()
    replay = Replay(Network(), card)
    for turn in (1, 2, 3):
        for size in (1, 2, 3):
            np.testing.assert_array_equal(replay(torch.from_numpy(numbered(turn, size)))["sum"], [turn * 48] * size)
    assert card.recorded == 2


def test_if_recording_fails_one_line_says_so_and_kernels_run_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    card, network = HostCard(records=False), Network()
    replay = Replay(network, card)
    with caplog.at_level(logging.WARNING, "pnasnet"):
        for turn in range(4):
            np.testing.assert_array_equal(replay(torch.from_numpy(numbered(turn)))["sum"], [turn * 48] * 2)
    assert caplog.messages == [
        "no CUDA graph can be recorded (operation not permitted when stream is capturing): "
        "kernels are launched one by one, which is slower"
    ]
    assert network.runs == 4


def test_cleared_graphs_are_recorded_again() -> None:
    card = HostCard()
    replay = Replay(Network(), card)
    for _ in range(2):
        for _ in range(2):
            replay(torch.from_numpy(numbered(1)))
        replay.clear()
    assert card.recorded == 2
