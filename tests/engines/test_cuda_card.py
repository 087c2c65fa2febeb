"""CUDA's card on a stand-in for `torch.cuda`, whose streams do nothing before something waits for them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pnasnet.engines import cuda_card, torch_engine
from pnasnet.engines.cards import Replay, Staging, TensorOutputs
from pnasnet.engines.cuda_card import CudaCard

from tests.helpers.lazy_cuda import LazyCuda

DEVICE = torch.device("cuda", 1)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> LazyCuda:
    made = LazyCuda()
    monkeypatch.setattr(cuda_card, "torch", made.torch)
    return made


def plain(tensor: Tensor) -> list[float]:
    found: list[float] = tensor.as_subclass(Tensor).flatten().tolist()
    return found


def test_a_copy_is_made_beside_the_computation_and_awaited_by_it_alone(cuda: LazyCuda) -> None:
    card = CudaCard(DEVICE)
    (one, one_there), (two, two_there) = card.buffers((2,)), card.buffers((2,))
    assert not np.isfinite(plain(one_there)).any()
    one.fill_(1)
    two.fill_(2)
    wait = card.copy(one, one_there)
    card.copy(two, two_there)
    cuda.computing.finish()
    assert np.isnan(plain(one_there)).all()  # nothing has waited, not even this thread
    wait()
    cuda.computing.finish()
    assert plain(one_there) == [1, 1]
    assert np.isnan(plain(two_there)).all()  # a copy after it


def test_memory_belongs_to_the_stream_that_copies(cuda: LazyCuda) -> None:
    """Memory that is freed is used again in its stream's order; another stream might still read it."""
    card = CudaCard(DEVICE)
    host, there = card.buffers((2,))
    (stream,) = set(cuda.allocated)
    assert stream not in (cuda.computing, cuda.current)
    assert stream.device == DEVICE
    card.copy(host, there)
    assert len(stream.work) == 2  # the copy and its event


def test_staged_batches_arrive_whole_in_any_order(cuda: LazyCuda) -> None:
    staging = Staging(CudaCard(DEVICE))
    batches = [np.full((2, 1, 1, 3), number, np.float32) for number in range(4)]
    for first, second in (batches[:2], batches[2:]):
        with staging.staged(first) as one, staging.staged(second) as two:
            for staged, batch in ((two, second), (one, first)):
                staged.wait()
                cuda.computing.finish()
                assert plain(staged.images) == batch.flatten().tolist()


def launched(source: Tensor, result: Tensor) -> TensorOutputs:
    result.copy_(source, non_blocking=True)
    return {"result": result}


def test_a_recording_is_launched_with_what_its_input_holds_then(cuda: LazyCuda) -> None:
    card = CudaCard(DEVICE)
    source, (_, result) = torch.ones(2), card.buffers((2,))
    launch, outputs = card.record(lambda: launched(source, result))
    cuda.computing.finish()
    assert plain(result) == [1, 1]  # from the run that chose the kernels
    source.fill_(2)
    cuda.computing.finish()
    assert plain(result) == [1, 1]
    launch()
    cuda.computing.finish()
    assert plain(outputs["result"]) == [2, 2]


def test_a_recording_begins_after_earlier_work_and_later_work_waits_for_it(cuda: LazyCuda) -> None:
    card = CudaCard(DEVICE)
    _, result = card.buffers((2,))
    order: list[str] = []

    def run() -> TensorOutputs:
        cuda.current.work.append(lambda: order.append("run"))
        return {"result": result}

    cuda.computing.work.append(lambda: order.append("before"))
    card.record(run)
    cuda.computing.work.append(lambda: order.append("after"))
    cuda.computing.finish()
    assert order == ["before", "run", "after"]


def test_graphs_share_one_pool_and_other_threads_may_allocate_meanwhile(cuda: LazyCuda) -> None:
    card = CudaCard(DEVICE)
    for _ in range(2):
        card.record(dict)
    assert len(cuda.recordings) == 2
    for options in cuda.recordings:
        assert (options["pool"], options["capture_error_mode"], options["device"]) == ("pool", "thread_local", 1)
        assert options["stream"] not in (cuda.computing, *cuda.allocated)
    assert cuda.device == 0  # as it was


def test_kernels_are_chosen_before_the_recording(cuda: LazyCuda) -> None:
    recordings: list[int] = []

    def run() -> TensorOutputs:
        recordings.append(len(cuda.recordings))
        return {}

    CudaCard(DEVICE).record(run)
    assert recordings == [0, 1]


def test_what_cannot_be_recorded_runs_kernel_by_kernel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cuda_card, "torch", LazyCuda(refuses=True).torch)
    replay = Replay(lambda images: {"sum": images.sum(1)}, CudaCard(DEVICE))
    for number in (1, 2, 3):
        assert plain(replay(torch.full((2, 3), float(number)))["sum"]) == [3 * number] * 2
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("no CUDA graph can be recorded (operation not permitted")


def test_unused_memory_is_returned_to_its_own_device(cuda: LazyCuda) -> None:
    CudaCard(DEVICE).free()
    assert cuda.emptied == [1]


def test_a_cuda_device_is_driven_by_its_card(cuda: LazyCuda) -> None:
    assert isinstance(torch_engine._card(DEVICE), CudaCard)
    assert torch_engine._card(torch.device("cpu")) is None
