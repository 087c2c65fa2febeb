"""The torch engine: on the CPU, and with the code for GPUs on a stand-in; too little memory, and precision."""

import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.engines import Engine, EngineOptions, Job, create, torch_engine
from pnasnet.engines.torch_engine import TorchEngine
from pnasnet.errors import InputError, OutOfMemoryError, PnasnetError

from tests.helpers.golden_weights import SPECS, Floats, assert_endpoints, drawn, images, weights
from tests.helpers.host_card import HostCard

SPEC = NetworkSpec(PNASNET5, 3, 8, (32, 32), 5, stem="cifar")
PLAN, DRAWN = resolve(SPEC), drawn(SPEC)
OUTPUTS = ("Cell_1", "global_pool", "Predictions")
BATCH = np.concatenate([images(32), images(32)[::-1] / 2])


def job(precision: str = "float32") -> Job:
    return Job(PLAN, lambda: DRAWN, EngineOptions("torch", precision, device="cpu"), outputs=OUTPUTS)


def features(engine: Engine, batch: Floats) -> Floats:
    return engine.run(batch)["global_pool"]


@pytest.fixture(scope="module")
def expected() -> dict[str, Floats]:
    with TorchEngine(job()) as engine:
        return engine.run(BATCH)


def assert_close(found: Floats, wanted: Floats, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


# On a card.


def test_a_card_agrees_with_tensorflow_kernel_by_kernel_and_replayed() -> None:
    name, card = "nasnet_cifar", HostCard()
    plan = resolve(SPECS[name])
    options = EngineOptions("torch", device="cpu")
    with TorchEngine(Job(plan, lambda: weights(name), options, outputs=tuple(plan.endpoints())), card) as engine:
        for _ in range(3):
            assert_endpoints(name, engine.run(images(32)))
    assert (card.recorded, card.launched, card.pending) == (1, 2, 0)


def test_a_card_returns_the_same_for_all_sizes_of_batches(expected: dict[str, Floats]) -> None:
    with TorchEngine(job(), HostCard()) as engine:
        found = [(size, engine.run(BATCH[-size:])) for size in 3 * (8, 3, 1, 8)]
        for size, outputs in found:  # checked at the end: later batches must not change earlier results
            for name, value in outputs.items():
                assert_close(value, expected[name][-size:])


def test_two_threads_keep_a_card_busy(expected: dict[str, Floats]) -> None:
    with TorchEngine(job(), HostCard()) as engine, ThreadPoolExecutor(4) as pool:
        assert engine.concurrency == 2
        order = [i % 8 for i in range(32)]
        for place, found in zip(order, pool.map(lambda i: features(engine, BATCH[i : i + 1]), order), strict=True):
            assert_close(found, expected["global_pool"][place : place + 1])


def test_the_next_batch_is_copied_while_one_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    card, computing, copied = HostCard(), threading.Event(), threading.Event()
    with TorchEngine(job(), card) as engine, ThreadPoolExecutor(2) as pool:
        forward, copy = engine._network, card.copy

        def slow(*arguments: Any) -> Any:
            computing.set()
            assert copied.wait(60)  # by the other call
            return forward(*arguments)

        def copy_and_tell(*arguments: Any) -> Any:
            if computing.is_set():
                copied.set()
            return copy(*arguments)

        monkeypatch.setattr(engine, "_network", slow)
        monkeypatch.setattr(card, "copy", copy_and_tell)
        first = pool.submit(engine.run, BATCH)
        assert computing.wait(60)
        second = pool.submit(engine.run, BATCH)
        np.testing.assert_array_equal(first.result(60)["global_pool"], second.result(60)["global_pool"])


def test_a_card_needs_a_copy_of_the_images_before_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    with TorchEngine(job(), HostCard()) as engine:
        monkeypatch.setattr(HostCard, "copy", lambda self, source, target: lambda: None)
        assert not np.isfinite(features(engine, BATCH)).all()


def test_a_closed_engine_frees_the_card() -> None:
    card = HostCard()
    engine = TorchEngine(job(), card)
    engine.run(BATCH)
    engine.close()
    assert card.freed == 1
    for _ in range(3):  # each returns its lane
        with pytest.raises(InputError, match="the torch engine is closed"):
            engine.run(BATCH)


# Memory.


class Limited:
    """A network that runs out of memory on more than `most` images, and holds much in the meantime."""

    def __init__(self, network: Any, most: int) -> None:
        self.network, self.most, self.sizes = network, most, list[int]()
        self.held: weakref.ref[torch.Tensor] | None = None

    def __call__(self, batch: torch.Tensor, endpoints: Any) -> Any:
        gc.disable()  # memory must be free without the collector's help
        assert self.held is None or self.held() is None
        maps = torch.empty(1000)
        self.held = weakref.ref(maps)
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nand much more")
        return self.network(batch, endpoints)


@pytest.fixture(params=[False, True], ids=["CPU", "card"])
def limited(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes an engine and its network of limited memory."""

    def make(most: int) -> tuple[TorchEngine, Limited]:
        engine = TorchEngine(job(), HostCard() if request.param else None)
        network = Limited(engine._network, most)
        monkeypatch.setattr(engine, "_network", network)
        return engine, network

    yield make
    gc.enable()


def test_a_batch_that_does_not_fit_is_halved_and_one_line_says_so(
    limited: Any, expected: dict[str, Floats], caplog: pytest.LogCaptureFixture
) -> None:
    engine, network = limited(2)
    with engine, caplog.at_level(logging.WARNING, "pnasnet"):
        for name, value in engine.run(BATCH[:7]).items():
            assert_close(value, expected[name][:7])
        assert caplog.messages == ["the device has too little memory for batches of 7 images: running 1 at a time"]
        assert network.sizes[:3] == [7, 3, 1]
        caplog.clear()
        del network.sizes[:]
        assert_close(features(engine, BATCH), expected["global_pool"])
        assert not caplog.messages  # known by now
        assert set(network.sizes) == {1}


def test_a_single_image_that_does_not_fit_is_an_error(limited: Any) -> None:
    engine, _ = limited(0)
    with engine, pytest.raises(OutOfMemoryError, match=r"^not enough memory on the device to run 1 image"):
        engine.run(BATCH)


def test_memory_for_the_copies_counts_too(
    expected: dict[str, Floats], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = HostCard.buffers

    def small(card: HostCard, shape: tuple[int, ...]) -> Any:
        if shape[0] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(card, shape)

    monkeypatch.setattr(HostCard, "buffers", small)
    with TorchEngine(job(), HostCard()) as engine, caplog.at_level(logging.WARNING, "pnasnet"):
        assert_close(features(engine, BATCH), expected["global_pool"])
    assert caplog.messages == ["the device has too little memory for batches of 8 images: running 4 at a time"]


# Precision.


@pytest.mark.parametrize("card", [None, HostCard()], ids=["CPU", "card"])
@pytest.mark.parametrize(("precision", "cosine"), [("float16", 0.99999), ("bfloat16", 0.999)])
def test_reduced_precision_is_close_and_stated(
    precision: str, cosine: float, card: HostCard | None, expected: dict[str, Floats]
) -> None:
    with TorchEngine(job(precision), card) as engine:
        assert engine.description.endswith(precision)
        for _ in range(3):
            value, exact = features(engine, BATCH), expected["global_pool"]
            cosines = (value * exact).sum(1) / np.sqrt((value**2).sum(1) * (exact**2).sum(1))
            assert cosine < cosines.min() < 1
            assert not np.array_equal(value, exact)


def test_float16_on_a_cpu_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pnasnet"):
        TorchEngine(job("float16")).close()
    assert caplog.messages == ["float16 is slow on a CPU: use bfloat16 or float32"]


def test_numbers_beyond_float16_are_an_error_and_no_vectors() -> None:
    large = {n: a * 1e5 if n == "l1_stem_bn/gamma" else a for n, a in DRAWN.items()}
    message = r"^the network exceeds the range of float16 on these images: use bfloat16 or float32$"
    with (
        TorchEngine(Job(PLAN, lambda: large, EngineOptions("torch", "float16"))) as engine,
        pytest.raises(PnasnetError, match=message),
    ):
        engine.run(BATCH)
    with TorchEngine(Job(PLAN, lambda: large, EngineOptions("torch", "bfloat16"))) as engine:
        assert np.isfinite(features(engine, BATCH)).all()


@pytest.mark.parametrize(
    ("capability", "precision", "message"),
    [
        ((7, 5), "bfloat16", "Tesla has no bfloat16, which needs compute capability 8.0: use float16 or float32"),
        ((5, 0), "float16", "Tesla has no float16, which needs compute capability 5.3: use float32"),
        ((5, 0), "bfloat16", "Tesla has no bfloat16, which needs compute capability 8.0: use float32"),
        ((7, 5), "float16", None),
        ((8, 0), "bfloat16", None),
        ((5, 0), "float32", None),
    ],
)  # fmt: skip
def test_a_precision_that_a_gpu_lacks_is_one_line(
    capability: tuple[int, int], precision: str, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla")
    if message is None:
        torch_engine._check_precision(torch.device("cuda", 0), precision)
        return
    with pytest.raises(InputError) as caught:
        torch_engine._check_precision(torch.device("cuda", 0), precision)
    assert str(caught.value) == message


def test_openvino_has_no_float16() -> None:
    message = r"^the openvino engine has no float16: use float32 or bfloat16, or the torch engine$"
    with pytest.raises(InputError, match=message):
        create(Job(PLAN, lambda: DRAWN, EngineOptions("openvino", "float16")))


def test_auto_runs_float16_on_torch() -> None:
    with create(Job(PLAN, lambda: DRAWN, EngineOptions("auto", "float16", device="cpu"))) as engine:
        assert engine.name == "torch"
