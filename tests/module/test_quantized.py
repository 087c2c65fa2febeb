"""Quantized models, opened and run like others."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.engines import EngineOptions, openvino_engine
from pnasnet.errors import InputError, WeightsMismatchError
from pnasnet.module.open import open_model

from tests.helpers.quantized_models import change_manifest, copied, quantized_tiny

IMAGES = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)


def test_every_endpoint_runs_and_is_near_float32() -> None:
    quantized, original = Module(quantized_tiny().folder, threads=1), Module("pnasnet_tiny", threads=1)
    endpoints = tuple(original.model.plan.endpoints())
    found, expected = quantized.run(IMAGES, endpoints), original.run(IMAGES, endpoints)
    for name in endpoints:
        one, other = found[name].ravel(), expected[name].ravel()
        assert one.shape == other.shape, name
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.9, name
        assert not np.array_equal(one, other), name


def test_it_says_what_it_is() -> None:
    module = Module(quantized_tiny().folder, threads=1)
    assert (module.precision, module.preset, module.image_size) == ("int8", "hub", (32, 32))
    assert module.labels == Module("pnasnet_tiny").labels
    assert module.model.name == "pnasnet_tiny"
    assert ", int8 and " in module.engine.description


def test_a_compiled_model_is_cached_and_computes_the_same(tmp_path: Path) -> None:
    options = EngineOptions("openvino", threads=1, cache_dir=tmp_path)
    first = Module(quantized_tiny().folder, engine=options)(IMAGES)
    assert len(list(tmp_path.rglob("*.blob"))) == 1
    np.testing.assert_array_equal(Module(quantized_tiny().folder, engine=options)(IMAGES), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(Module(quantized_tiny().folder)))(IMAGES), first)


def test_it_is_accepted_as_weights_of_its_network() -> None:
    model = open_model("pnasnet_tiny", quantized_tiny().folder)
    assert model.quantized is not None
    assert model.checksum == open_model(quantized_tiny().folder).checksum


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (None, {"image_size": (64, 64)}, "was quantized for images of 32x32, not 64x64: quantize pnasnet_tiny again"),
        ("nasnet_cifar", {}, "was quantized for another network"),
    ],
)
def test_its_graph_is_of_one_network_and_size(model: str | None, arguments: dict[str, object], message: str) -> None:
    folder = quantized_tiny().folder
    with pytest.raises(WeightsMismatchError, match=message):
        open_model(model or folder, folder if model else None, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainable": True}, "is quantized, for inference alone: train its source, pnasnet_tiny"),
        ({"precision": "bfloat16"}, "precision bfloat16: .* is quantized and runs in int8; leave the precision out"),
        ({"precision": "float32"}, "precision float32: .* is quantized and runs in int8; leave the precision out"),
        (
            {"engine": EngineOptions(precision="float32")},
            "precision float32: .* is quantized and runs in int8; leave the precision out",
        ),
    ],
)
def test_what_a_quantized_module_cannot_do(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Module(quantized_tiny().folder, **arguments)  # type: ignore[arg-type]


def test_it_has_no_variables_to_export(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no float32 weights: use its source, pnasnet_tiny"):
        Module(quantized_tiny().folder).export(tmp_path / "out.safetensors")


def test_int8_is_no_precision_of_other_models() -> None:
    with pytest.raises(InputError, match="pnasnet_tiny is not quantized: make an int8 model with pnasnet quantize"):
        Module("pnasnet_tiny", precision="int8")


def test_it_runs_on_openvino_only() -> None:
    with pytest.raises(InputError, match="a quantized model runs on OpenVINO only"):
        Module(quantized_tiny().folder, engine="torch")(IMAGES)


def test_features_beyond_the_calibrated_range_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = copied(tmp_path)
    features = Module(folder, threads=1)(IMAGES)
    usual = {"highest": [float(value) for value in features.max(0)], "share": 0.0}
    change_manifest(folder, calibrated_range=usual)
    module = Module(folder, threads=1)
    caplog.set_level(logging.WARNING, logger="pnasnet")
    caplog.clear()
    module(IMAGES)
    assert not caplog.records
    module(np.zeros_like(IMAGES))
    module(np.zeros_like(IMAGES))
    module(np.ones_like(IMAGES), "image_classification")
    assert len(caplog.records) == 1
    assert "of the features are beyond their range in calibration (at most 0.0 % then)" in caplog.text


@pytest.mark.parametrize("signature", ["image_feature_vector", "image_classification"])
def test_both_signatures_are_watched(tmp_path: Path, caplog: pytest.LogCaptureFixture, signature: str) -> None:
    folder = copied(tmp_path)
    change_manifest(folder, calibrated_range={"highest": [0.0] * 960, "share": 0.0})
    assert Module(folder, threads=1)(IMAGES, signature).shape == (4, 10 if "class" in signature else 960)
    assert "beyond their range" in caplog.text


def test_a_cpu_without_int8_instructions_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_engine, "has_int8_instructions", lambda: False)
    Module(quantized_tiny().folder, threads=1)(IMAGES)
    assert caplog.text.count("no int8 instructions (VNNI): a quantized model may be slower than float32") == 1


def test_a_cpu_without_bfloat16_runs_the_rest_in_float32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_engine, "_has_bfloat16", lambda core, device: False)
    monkeypatch.setattr(openvino_engine, "has_int8_instructions", lambda: True)
    module = Module(quantized_tiny().folder, threads=1)
    assert ", int8 and float32" in module.engine.description
    assert caplog.text.count("no bfloat16 instructions: layers that are not quantized run in float32, slower") == 1
