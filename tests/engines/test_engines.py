"""All engines by one contract, and against each other."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.engines import Engine, EngineOptions, FakeEngine, Job, create, openvino_engine
from pnasnet.engines.openvino_engine import OpenVINOEngine
from pnasnet.errors import InputError, PnasnetError, UnknownNameError, WeightsMismatchError

from tests.helpers.golden_weights import SPECS, Floats, assert_endpoints, draw, images, weights

PLAN = resolve(NetworkSpec(PNASNET5, 3, 8, (32, 32), 5, stem="cifar"))
DRAWN = {name: np.abs(draw(name, shape)) for name, shape in PLAN.variables().items()}
OUTPUTS = ("Cell_1", "global_pool", "Predictions")
REAL = ("openvino", "torch")


def make(name: str, outputs: tuple[str, ...] = OUTPUTS, **options: Any) -> Engine:
    return create(Job(PLAN, lambda: DRAWN, EngineOptions(name, **options), outputs=outputs))


@pytest.fixture(scope="module", params=[*REAL, "fake"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with make(request.param) as engine:
        yield engine


def test_outputs_have_their_names_shapes_and_dtype(engine: Engine) -> None:
    outputs = engine.run(images(32)[:3])
    assert tuple(outputs) == engine.outputs == OUTPUTS
    assert {name: value.shape[1:] for name, value in outputs.items()} == {n: PLAN.endpoints()[n] for n in OUTPUTS}
    assert all(value.dtype == np.float32 and len(value) == 3 for value in outputs.values())


@pytest.mark.parametrize("name", REAL)
def test_weights_that_lack_variables_are_refused(name: str) -> None:
    """Missing variables would be random."""
    incomplete = {n: a for n, a in DRAWN.items() if not n.startswith("final_layer/")}
    with pytest.raises(WeightsMismatchError, match="the weights lack 2 variables of the network: 'final_layer"):
        create(Job(PLAN, lambda: incomplete, EngineOptions(name)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stack is Linux's")
def test_signals_are_handled_after_engines_are_closed() -> None:
    """The first model that OpenVINO destroyed left freed memory as the signal stack, and the next signal crashed."""
    program = (
        "import os, signal; from pnasnet import Module; import numpy as np;"
        "first, second = (Module('pnasnet_tiny', image_size=size).engine for size in ((32, 32), (40, 40)));"
        "first.close(); second.close(); signal.signal(signal.SIGUSR1, lambda *_: print('handled'));"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_an_empty_batch_has_empty_outputs(engine: Engine) -> None:
    shapes = {name: value.shape for name, value in engine.run(images(32)[:0]).items()}
    assert shapes == {name: (0, *PLAN.endpoints()[name]) for name in OUTPUTS}


def test_a_vector_does_not_depend_on_its_batch(engine: Engine) -> None:
    whole = engine.run(images(32))
    for size in (1, 3):  # 4 = 1 + 3: also the short batch at an end
        for name, value in engine.run(images(32)[-size:]).items():
            # OpenVINO to the bit; torch sums in another order for other batches.
            tolerance = 1e-5 * np.abs(value).max() if engine.name == "torch" else 0
            np.testing.assert_allclose(value, whole[name][-size:], rtol=0, atol=tolerance, err_msg=name)


def test_results_are_copies(engine: Engine) -> None:
    first = engine.run(images(32)[:1])
    kept = {name: value.copy() for name, value in first.items()}
    engine.run(images(32)[1:2])
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


def test_threads_take_turns(engine: Engine) -> None:
    photos = [images(32)[i % 4 : i % 4 + 1] for i in range(8)]
    expected = [engine.run(photo)["global_pool"] for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        for value, alone in zip(pool.map(lambda x: engine.run(x)["global_pool"], photos), expected, strict=True):
            # Under load, torch may sum in another order.
            tolerance = 1e-5 * np.abs(alone).max() if engine.name == "torch" else 0
            np.testing.assert_allclose(value, alone, rtol=0, atol=tolerance)


def test_any_array_of_the_right_shape_is_accepted(engine: Engine) -> None:
    mirrored = images(32)[:, :, ::-1]
    expected = engine.run(np.ascontiguousarray(mirrored))["global_pool"]
    frozen = np.ascontiguousarray(mirrored)
    frozen.flags.writeable = False  # like an array mapped from a file
    for same in (mirrored, frozen, mirrored.astype(np.float64)):
        np.testing.assert_array_equal(engine.run(same)["global_pool"], expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 31, 32, 3), (1, 32, 32, 1), (32, 32, 3), (1, 3, 32, 32)])
def test_images_of_another_shape_are_refused(engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must be \[batch, 32, 32, 3\], not \["):
        engine.run(np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", [*REAL, "fake"])
def test_a_closed_engine_raises(name: str) -> None:
    with make(name, ("global_pool",)) as engine:
        assert engine.run(images(32)[:1])
    engine.close()
    with pytest.raises(InputError, match=f"the {name} engine is closed"):
        engine.run(images(32)[:1])


def test_engines_agree() -> None:
    results = []
    for name in REAL:
        with make(name) as engine:
            assert "float32" in engine.description
            results.append(engine.run(images(32)))
    for endpoint in OUTPUTS:
        first, second = (result[endpoint] for result in results)
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-5 * first.max(), err_msg=endpoint)


def test_openvino_agrees_with_tensorflow_after_a_warm_start_too(tmp_path: Path) -> None:
    name, options = "nasnet_cifar", EngineOptions("openvino", cache_dir=tmp_path)
    plan = resolve(SPECS[name])
    for _ in range(2):
        with create(Job(plan, lambda: weights(name), options, "golden", tuple(plan.endpoints()))) as engine:
            assert_endpoints(name, engine.run(images(32)))


@pytest.mark.parametrize("name", REAL)
def test_bfloat16_is_close_and_stated(name: str) -> None:
    with make(name, ("global_pool",), precision="bfloat16", threads=1) as engine:
        assert "1 thread" in engine.description
        assert "bfloat16" in engine.description or not _has_bfloat16()
        value = engine.run(images(32))["global_pool"].astype(np.float64)
    with make(name, ("global_pool",)) as engine:
        expected = engine.run(images(32))["global_pool"].astype(np.float64)
    cosine = (value * expected).sum(1) / np.sqrt((value**2).sum(1) * (expected**2).sum(1))
    assert cosine.min() > 0.999
    assert not np.array_equal(value, expected) or not _has_bfloat16()


def _has_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_a_cpu_without_bfloat16_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import openvino

    original = openvino.Core.get_property

    def without_bfloat16(core: openvino.Core, device: str, name: str) -> Any:
        return ["FP32"] if name == "OPTIMIZATION_CAPABILITIES" else original(core, device, name)

    monkeypatch.setattr(openvino.Core, "get_property", without_bfloat16)
    with caplog.at_level(logging.WARNING, "pnasnet"), make("openvino", ("global_pool",), precision="bfloat16"):
        assert [record.getMessage() for record in caplog.records] == [
            "this CPU has no bfloat16 instructions: float32 is at least as fast, and more accurate"
        ]


@pytest.mark.parametrize(
    ("device", "vnni", "bfloat16", "precision", "missing"),
    [
        ("CPU", True, True, "bfloat16", []),
        ("CPU", None, True, "bfloat16", []),  # unknown
        ("CPU", False, True, "bfloat16", ["int8"]),
        ("CPU", True, False, "float32", ["bfloat16"]),
        ("CPU", False, False, "float32", ["int8", "bfloat16"]),
        ("GPU", False, True, "bfloat16", []),
        ("GPU", False, False, "float32", ["bfloat16"]),
    ],
)
def test_what_a_device_lacks_for_a_quantized_model_is_one_line_each(
    device: str, vnni: bool | None, bfloat16: bool, precision: str, missing: list[str],
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(openvino_engine, "has_int8_instructions", lambda: vnni)
    core: Any = SimpleNamespace(get_property=lambda device, name: ["FP32", "BF16"] if bfloat16 else ["FP32"])
    job: Any = SimpleNamespace(graph=SimpleNamespace(floating="bfloat16"))
    assert openvino_engine._hint(core, device, job) == precision
    assert [message.partition(" instructions")[0] for message in caplog.messages] == [
        f"this {device} has no {kind}" for kind in missing
    ]


def test_a_fake_engine_accepts_a_function() -> None:
    def double(batch: Floats) -> dict[str, Floats]:
        return {"global_pool": batch.mean((1, 2)) * 2}

    with FakeEngine(Job(PLAN, dict), double) as engine:
        np.testing.assert_array_equal(engine.run(images(32))["global_pool"], images(32).mean((1, 2)) * 2)


def test_failures_of_the_libraries_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with make("openvino", ("global_pool",)) as engine:
        assert isinstance(engine, OpenVINOEngine)

        class Failing:
            output_tensors = ()

            def infer(self, inputs: object) -> None:
                raise RuntimeError("Exception from src/core.cpp:1:\nException from src/b.cpp:2:\nbroken\n\n")

        monkeypatch.setattr(engine, "_request", Failing())
        with pytest.raises(PnasnetError, match=r"^OpenVINO cannot run 4 images: broken$"):
            engine.run(images(32))
    with pytest.raises(UnknownNameError, match="unknown OpenVINO device 'TPU': did you mean CPU"):
        make("openvino", device="tpu")
    with pytest.raises(UnknownNameError, match="unknown torch device 'cuda:9': "):
        make("torch", device="cuda:9")
