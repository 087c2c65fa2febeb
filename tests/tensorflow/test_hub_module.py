"""TensorFlow 1's lines of docs/from-tf-hub.md, run as written with tensorflow_hub 0.15, the last with `hub.Module`.

scripts/test-tensorflow runs this file in a process of its own: a later tensorflow_hub is not importable beside it.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pnasnet import Module

from tests.tensorflow.original_modules import export_first_format
from tests.tensorflow.page import HANDLE, TINY, assert_equal, cached, l2, run, sections

# tensorflow_hub 0.15 derives a class, which nothing here uses, from one that TensorFlow 2.16 removed.
tf.compat.v1.estimator = SimpleNamespace(Exporter=object)
hub = importlib.import_module("tensorflow_hub")

MODULE = Module(TINY, image_size=(64, 64))
IMAGES = np.random.default_rng(0).random((2, *MODULE.image_size, 3), np.float32)


@pytest.fixture(scope="module")
def handles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TF-Hub's cache, with a module of small weights under the page's handle."""
    folder = tmp_path_factory.mktemp("cache")
    export_first_format(hub, MODULE.model.plan, MODULE.variables, cached(folder, f"{HANDLE}/3"))
    return folder


@pytest.fixture
def names(handles: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A graph and a session of TensorFlow 1, as its programs had."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(handles))
    monkeypatch.chdir(tmp_path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        yield {"hub": hub, "tf": tf.compat.v1, "images": tf.constant(IMAGES), "session": session}


def initialised(names: dict[str, Any]) -> Any:
    """Return what initialises all variables before a statement that uses the session."""

    def before(statement: str) -> None:
        if "session" in statement:
            names["session"].run(tf.compat.v1.global_variables_initializer())

    return before


def test_hub_module(names: dict[str, Any]) -> None:
    (block,) = sections()["hub.Module"]
    run(block, names, initialised(names))
    assert (names["height"], names["width"], names["channels"]) == (*MODULE.image_size, 3)
    module, outputs = names["module"], names["session"].run(names["outputs"])
    assert {"default", "image_feature_vector"} <= set(module.get_signature_names())
    assert module.get_input_info_dict(signature="image_feature_vector").keys() == {"images"}
    assert module.variable_map.keys() == MODULE.variables.keys()
    assert_equal(outputs["default"], MODULE(IMAGES))
    expected = MODULE.run(IMAGES, ("Cell_1",))
    assert_equal(outputs["network/Cell_1"], expected["Cell_1"])
    np.testing.assert_array_equal(Module("folder")(IMAGES), MODULE(IMAGES))


def test_tags(names: dict[str, Any]) -> None:
    (block,) = sections()["Tags"]
    run(block, names)
    session = names["session"]
    session.run(tf.compat.v1.global_variables_initializer())
    assert session.run(names["loss"]) == pytest.approx(l2(MODULE), rel=1e-5)
    variables = names["module"].variable_map
    before = session.run(variables)
    session.run(names["updates"])
    after = session.run(variables)
    changed = {name for name in variables if np.any(before[name] != after[name])}
    assert changed == {name for name in variables if "/moving_" in name}
    trained = {variable.name.partition("/")[2].removesuffix(":0") for variable in tf.compat.v1.trainable_variables()}
    assert trained == set(variables) - changed
