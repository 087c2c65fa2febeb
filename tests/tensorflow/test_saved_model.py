"""SavedModels as users of TensorFlow and TF-Hub load them; run by scripts/test-tensorflow, without this package."""

import ctypes
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

Export = tuple[str, dict[str, Any]]
TOLERANCE = 1e-4


def assert_equal(value: Any, expected: Any) -> None:
    """Fail unless the values are equal to a fraction of the largest."""
    np.testing.assert_allclose(np.asarray(value), expected, rtol=0, atol=TOLERANCE * float(np.abs(expected).max()))


def test_hub_load_is_called_as_the_second_format_was(export: Export) -> None:
    path, expected = export
    module = hub.load(path)
    assert_equal(module(expected["images"]), expected["global_pool"])
    assert_equal(module(expected["images"], training=False), expected["global_pool"])
    endpoints = module(expected["images"], return_endpoints=True)
    assert set(endpoints) == {"default", *(set(expected) - {"images", "signatures", "Logits", "Predictions"})}
    assert_equal(endpoints["default"], expected["global_pool"])
    for name in set(endpoints) - {"default"}:
        assert_equal(endpoints[name], expected[name])
    with pytest.raises(ValueError, match="Could not find matching concrete function"):
        module(expected["images"], training=True)


@pytest.mark.parametrize("tags", [None, "serve", ["serve"]])
def test_every_signature(export: Export, tags: Any) -> None:
    path, expected = export
    signatures = tf.saved_model.load(path, tags=tags).signatures
    assert set(signatures) == {"serving_default", *expected["signatures"]}
    images = tf.constant(expected["images"])
    for name, endpoint in (("default", "global_pool"), ("image_feature_vector", "global_pool"),
                           ("image_classification", "Logits")):  # fmt: skip
        outputs = signatures[name](images)
        assert_equal(outputs.pop("default"), expected[endpoint])
        for output, value in outputs.items():
            assert_equal(value, expected[output])
    assert set(signatures["serving_default"](images=images)) == {"default"}


def test_a_plain_keras_layer(export: Export) -> None:
    path, expected = export
    assert_equal(hub.KerasLayer(path)(expected["images"]), expected["global_pool"])
    logits = hub.KerasLayer(path, signature="image_classification", output_key="default")
    assert_equal(logits(expected["images"]), expected["Logits"])


def test_a_layer_in_a_model_that_is_trained_and_saved(export: Export, tmp_path: Path) -> None:
    path, expected = export
    size = expected["images"].shape[1:]
    model = tf_keras.Sequential([hub.KerasLayer(path, input_shape=size), tf_keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(expected["images"], np.zeros((2, 2)), verbose=0)
    model.save(tmp_path / "model")
    again = tf_keras.models.load_model(tmp_path / "model")
    assert_equal(again.predict(expected["images"], verbose=0), model.predict(expected["images"], verbose=0))


def test_keras_3(export: Export) -> None:
    path, expected = export
    assert_equal(keras.layers.TFSMLayer(path)(expected["images"]), expected["global_pool"])
    served = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    inputs = keras.Input(expected["images"].shape[1:])
    model = keras.Model(inputs, served(inputs)["default"])
    assert_equal(model.predict(expected["images"], verbose=0), expected["global_pool"])


def test_gradients_reach_the_images(export: Export) -> None:
    path, expected = export
    images = tf.constant(expected["images"])
    module = hub.load(path)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(module(images))
    assert float(tf.reduce_max(tf.abs(tape.gradient(total, images)))) > 0


def test_a_session_of_tensorflow_1(export: Export) -> None:
    path, expected = export
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def["image_classification"]
        feed = {signature.inputs["images"].name: expected["images"]}
        assert_equal(session.run(signature.outputs["default"].name, feed), expected["Logits"])


def test_the_loader_of_tensorflow_serving(export: Export) -> None:
    """C++, by TensorFlow's C interface: what tf.saved_model.load does in Python is not used there."""
    path, _ = export
    folder = Path(tf.sysconfig.get_lib())
    for name in ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2"):
        library = ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL)
    for name in ("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel"):
        getattr(library, name).restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    new = (library.TF_NewStatus, library.TF_NewGraph, library.TF_NewSessionOptions)
    status, graph, options = (ctypes.c_void_p(create()) for create in new)
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = library.TF_LoadSessionFromSavedModel(options, None, path.encode(), tags, 1, graph, None, status)
    assert library.TF_GetCode(status) == 0, library.TF_Message(status).decode()
    assert session


def test_a_saved_copy_equals_it(export: Export, tmp_path: Path) -> None:
    path, expected = export
    module = hub.load(path)
    tf.saved_model.save(module, str(tmp_path / "copy"))
    assert_equal(hub.load(str(tmp_path / "copy"))(expected["images"]), expected["global_pool"])
