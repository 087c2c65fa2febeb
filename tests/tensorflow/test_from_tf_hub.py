"""TensorFlow 2's lines of docs/from-tf-hub.md, run as written on modules with the published interface."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from pnasnet import Module

from tests.tensorflow.original_modules import save_second_format
from tests.tensorflow.page import HANDLE, ROOT, TINY, assert_equal, cached, l2, run, sections

MODULE = Module(TINY, image_size=(64, 64))
IMAGES = np.random.default_rng(0).random((2, *MODULE.image_size, 3), np.float32)
OTHERS = {"hub.Module", "Tags"}
"""Sections for TensorFlow 1, which test_hub_module.py runs with an older tensorflow_hub."""


@pytest.fixture(scope="module")
def handles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TF-Hub's cache, with modules of small weights under the page's handles."""
    folder = tmp_path_factory.mktemp("cache")
    save_second_format(MODULE.model.plan, MODULE.variables, cached(folder, f"{HANDLE}/5"))
    cached(folder, f"{HANDLE}/3").symlink_to(ROOT / "tests/checkpoints/tiny_hub_tf1")
    return folder


@pytest.fixture
def names(handles: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(handles))
    return {"hub": hub, "tf": tf, "images": tf.constant(IMAGES)}


def test_every_section_is_run_here_or_by_the_other_file() -> None:
    assert sections().keys() == {"hub.load", "hub.KerasLayer", "return_endpoints"} | OTHERS


def test_hub_load(names: dict[str, Any]) -> None:
    second, first = sections()["hub.load"]
    run(second, names)
    assert_equal(names["features"], MODULE(IMAGES))
    del names["features"]
    run(first, names)
    assert_equal(names["features"], MODULE(IMAGES))


def test_keras_layer_trains(names: dict[str, Any]) -> None:
    (block,) = sections()["hub.KerasLayer"]
    run(block, names)
    layer = names["layer"]
    variables = {variable.name.removesuffix(":0"): variable.numpy() for variable in layer.weights}
    assert variables.keys() == MODULE.variables.keys()
    assert len(names["variables"]) == sum("/moving_" not in name for name in variables)
    assert float(names["loss"]) == pytest.approx(l2(MODULE), rel=1e-5)
    assert not np.allclose(names["features"], MODULE(IMAGES), atol=1e-3)
    # The momentum of the page's arguments: the new average has a tenth of the batch's mean.
    name = next(name for name in variables if name.endswith("moving_mean"))
    old, once = MODULE.variables[name], variables[name]
    kernel = next(name for name in variables)
    pixels = tf.nn.conv2d(2 * IMAGES - 1, MODULE.variables[kernel], 2, "VALID")
    np.testing.assert_allclose(once, 0.9 * old + 0.1 * np.asarray(pixels).mean((0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_return_endpoints(names: dict[str, Any]) -> None:
    (block,) = sections()["return_endpoints"]
    run(block, names)
    expected = MODULE.run(IMAGES, tuple(MODULE.model.plan.endpoints()))
    outputs = names["outputs"]
    assert_equal(outputs.pop("default"), expected["global_pool"])
    assert {"Cell_1", "global_pool"} < {name.rpartition("/")[2] for name in outputs}
    for name, value in outputs.items():
        assert_equal(value, expected[name.rpartition("/")[2]])


def test_a_downloaded_module_is_opened_by_its_path(handles: Path) -> None:
    opened = Module(cached(handles, f"{HANDLE}/5"))
    np.testing.assert_array_equal(opened(IMAGES), MODULE(IMAGES))
