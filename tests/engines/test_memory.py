"""Too little memory, in the words of each library: smaller batches, or one line."""

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.engines import Engine, EngineOptions, FakeEngine, Job, create
from pnasnet.errors import OutOfMemoryError, PnasnetError

from tests.helpers.golden_weights import Floats, drawn, images
from tests.helpers.stale_requests import Stale

SPEC = NetworkSpec(PNASNET5, 3, 8, (32, 32), 5, stem="cifar")
PLAN, DRAWN = resolve(SPEC), drawn(SPEC)
TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."
OPENVINO = (
    "Exception from src/inference/src/cpp/infer_request.cpp:224:\nFailed to allocate 282441216 bytes of memory\n\n"
)


class Limited:
    """A library's call that fails on batches of more than `most` images, and notes the sizes."""

    def __init__(self, call: Callable[..., Any], most: int, error: Exception) -> None:
        self.call, self.most, self.error, self.sizes = call, most, error, list[int]()

    def __call__(self, batch: Any, *others: Any) -> Any:
        count = len(batch[0]) if isinstance(batch, list) else len(batch)
        self.sizes.append(count)
        if count > self.most:
            raise self.error
        return self.call(batch, *others)

    infer = __call__
    output_tensors: tuple[Any, ...] = ()


def limited(name: str, most: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> tuple[Engine, Limited]:
    job = Job(PLAN, lambda: DRAWN, EngineOptions(name, device=None if name == "fake" else "cpu"))
    if name == "fake":
        means = Limited(lambda batch: {"global_pool": batch.mean((1, 2))}, most, error)
        return FakeEngine(job, means), means
    engine: Any = create(job)
    if name == "torch":
        network = Limited(engine._network, most, error)
        monkeypatch.setattr(engine, "_network", network)
        return engine, network
    request = Limited(engine._request.infer, most, error)
    monkeypatch.setattr(engine, "_request", request)
    return engine, request


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("torch", RuntimeError(TORCH)),
        ("torch", MemoryError()),
        ("openvino", RuntimeError(OPENVINO)),
        ("openvino", MemoryError("std::bad_alloc")),
        ("fake", MemoryError("Unable to allocate 1.0 TiB for an array")),
    ],
)
def test_batches_are_halved_until_they_fit(
    name: str, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, calls = limited(name, 1, error, monkeypatch)
    with engine, caplog.at_level(logging.WARNING, "pnasnet"):
        found = engine.run(images(32))["global_pool"]
        assert calls.sizes == [4, 2, 1, 1, 1, 1]
        assert engine.memory_splits == 2
        assert caplog.messages == ["the device has too little memory for batches of 4 images: running 1 at a time"]
        alone: list[Floats] = [engine.run(images(32)[i : i + 1])["global_pool"] for i in range(4)]
        np.testing.assert_array_equal(found, np.concatenate(alone))
    nothing, _ = limited(name, 0, error, monkeypatch)
    message = r"^not enough memory on the device to run 1 image: use a smaller batch or a smaller model$"
    with nothing, pytest.raises(OutOfMemoryError, match=message):
        nothing.run(images(32))


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_other_failures_do_not_halve_batches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, calls = limited(name, 0, RuntimeError("a broken kernel\nand a long trace"), monkeypatch)
    with engine, pytest.raises(PnasnetError, match=r"^\w+ cannot run 4 images: ") as caught:
        engine.run(images(32))
    assert not isinstance(caught.value, OutOfMemoryError)
    assert calls.sizes == [4]
    assert engine.memory_splits == 0


@pytest.mark.parametrize(("name", "text"), [("torch", TORCH), ("openvino", OPENVINO)])
def test_too_little_memory_for_the_network(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(torch.nn.Module, "to", fail)
    monkeypatch.setattr("openvino.Core.compile_model", fail)
    with pytest.raises(OutOfMemoryError, match=r"^not enough memory on the device to load the network: use a smaller"):
        create(Job(PLAN, lambda: DRAWN, EngineOptions(name, device="cpu")))


@pytest.mark.parametrize("before", [1, 2, 4])
def test_outputs_of_an_earlier_batch_are_not_returned_again(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another size, or of the same: as OpenVINO does if memory is insufficient."""
    engine: Any = create(Job(PLAN, lambda: DRAWN, EngineOptions("openvino", device="cpu")))
    with engine:
        expected = engine.run(images(32))["global_pool"]
        request = Stale(engine._request, before)
        monkeypatch.setattr(engine, "_request", request)
        engine.run(np.zeros_like(images(32)[:before]))
        request.most = 1
        np.testing.assert_array_equal(engine.run(images(32))["global_pool"], expected)
        assert engine.memory_splits == 2
        request.most = 0
        with pytest.raises(OutOfMemoryError, match="to run 1 image"):
            engine.run(images(32))


LIMIT = """
import resource
import numpy as np
from pnasnet import Module
from pnasnet.engines import EngineOptions
engine = Module("pnasnet_tiny", engine=EngineOptions("openvino", threads=1)).engine
images = np.random.default_rng(0).random((512, 32, 32, 3), np.float32)
expected = np.concatenate([engine.run(images[i : i + 4])["global_pool"] for i in range(0, 512, 4)])
engine.run(images[8:16])
(used,) = (int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + 2**26,) * 2)
start = 0
for part in engine._run_in_parts(images):  # OpenVINO may leave too little to join them
    vectors = part["global_pool"]
    np.testing.assert_array_equal(vectors, expected[start : start + len(vectors)])
    start += len(vectors)
assert start == 512
assert engine.memory_splits > 2, engine.memory_splits
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_vectors_are_right_although_openvino_really_lacks_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LIMIT], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
