"""Networks as Keras models, on its torch backend."""

import inspect
import os
from functools import partial
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import openvino
import pytest

import pnasnet.keras
from pnasnet import Module
from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import InputError, UnknownNameError
from pnasnet.images import decode
from pnasnet.lowering.onnx_graph import build

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.golden_weights import EVERY_OPERATION, SPECS, assert_endpoints, drawn, images, weights

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own


@pytest.mark.parametrize(
    "name",
    ["nasnet_cifar", *(pytest.param(n, marks=pytest.mark.slow) for n in ("pnasnet_mobile", "nasnet_mobile"))],
)
def test_outputs_equal_tensorflows(name: str) -> None:
    batch = 2 * images(SPECS[name].image_size[0]) - 1
    model = pnasnet.keras.build(SPECS[name], weights=weights(name))
    features = keras.Model(model.input, [model.get_layer("global_pool").output, model.output])
    pooled, predictions = features.predict(batch, verbose=0)
    assert_endpoints(name, {"global_pool": pooled, "Predictions": predictions})


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(EVERY_OPERATION, 4, 8, (15, 20), 5, stem="cifar"),
        NetworkSpec(PNASNET5, 3, 8, (65, 70), 5),
        NetworkSpec(NASNET_A_NORMAL, 3, 8, (71, 80), 5, NASNET_A_REDUCTION),
    ],
    ids=["every operation", "PNASNet", "NASNet"],
)
def test_any_other_network_equals_the_onnx_graph(spec: NetworkSpec) -> None:
    values, batch = drawn(spec), np.random.default_rng(0).random((2, *spec.image_size, 3), np.float32)
    core = openvino.Core()
    onnx = core.read_model(build(resolve(spec), values, ["Logits"]).SerializeToString())
    expected = core.compile_model(onnx, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)["Logits"]
    model = pnasnet.keras.build(spec, weights=values, classifier_activation=None)
    found = model.predict(2 * batch - 1, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()))


def test_features_of_a_photo_equal_embed() -> None:
    module = Module("pnasnet_tiny")
    pixels = pnasnet.images.transform(decode(next(PHOTOS.glob("*.jpg"))), module.image_size) * 255
    model = pnasnet.keras.build("pnasnet_tiny", include_top=False, pooling="avg")
    found = model.predict(pnasnet.keras.preprocess_input(pixels[np.newaxis]), verbose=0)
    expected = module.embed(next(PHOTOS.glob("*.jpg")))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_another_size_the_last_map_and_the_largest_value() -> None:
    batch = np.random.default_rng(0).random((1, 40, 48, 3), np.float32)
    expected = Module("pnasnet_tiny", image_size=(40, 48)).run(batch, ("Cell_3", "global_pool"))
    create = partial(pnasnet.keras.build, "pnasnet_tiny", include_top=False, input_shape=(40, 48, 3))
    found = create().predict(2 * batch - 1, verbose=0)
    last = np.maximum(expected["Cell_3"], 0)
    np.testing.assert_allclose(found, last, rtol=0, atol=1e-4 * float(last.max()))
    largest = create(pooling="max").predict(2 * batch - 1, verbose=0)
    np.testing.assert_allclose(largest, last.max((1, 2)), rtol=0, atol=1e-4 * float(last.max()))


def test_imagenets_background_is_left_out_on_request() -> None:
    spec = NetworkSpec(PNASNET5, 3, 8, (32, 32), 1001, stem="cifar")
    values, batch = drawn(spec), np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    all_of_them = pnasnet.keras.build(spec, weights=values, classifier_activation=None).predict(batch, verbose=0)
    kerass = pnasnet.keras.build(spec, weights=values, classes=1000, classifier_activation=None)
    np.testing.assert_allclose(kerass.predict(batch, verbose=0), all_of_them[:, 1:], rtol=1e-5, atol=1e-4)
    with pytest.raises(InputError, match="the weights have 1001 classes, not 10"):
        pnasnet.keras.build(spec, weights=values, classes=10)


def test_a_model_learns_and_is_saved(tmp_path: Path) -> None:
    base = pnasnet.keras.build("pnasnet_tiny", include_top=False, pooling="avg")
    model = keras.Sequential([base, keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    batch, labels = generator.random((8, 32, 32, 3), np.float32), np.arange(8) % 2
    before = {variable.path: np.asarray(variable.numpy()) for variable in base.variables}
    model.fit(batch, labels, epochs=1, verbose=0)
    changed = {variable.path for variable in base.variables if np.any(variable.numpy() != before[variable.path])}
    assert any(path.endswith("moving_mean") for path in changed)
    assert {variable.path for variable in base.trainable_variables} <= changed
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(batch, verbose=0), model.predict(batch, verbose=0), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras exports from JAX by way of TensorFlow")
@pytest.mark.filterwarnings("ignore")  # torch.jit.trace is deprecated, and warns of every size that it takes as fixed
def test_a_model_is_exported(tmp_path: Path) -> None:
    model = pnasnet.keras.build("pnasnet_tiny", include_top=False, pooling="avg")
    batch = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    model.export(str(tmp_path / "model.xml"), format="openvino", verbose=False)
    compiled = openvino.Core().compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = model.predict(batch, verbose=0)
    np.testing.assert_allclose(compiled(batch)[0], expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_random_weights_an_input_and_a_name_of_ones_own() -> None:
    given = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(given)
    model = pnasnet.keras.build("pnasnet_tiny", weights=None, input_tensor=scaled, classes=7, name="mine")
    assert model.name == "mine"
    assert model.input is given
    assert model.output.shape == (None, 7)
    assert pnasnet.keras.build("pnasnet_tiny", weights=None).name == "pnasnet_tiny"


@pytest.mark.parametrize("name", ["NASNetLarge", "NASNetMobile", "PNASNetLarge", "PNASNetMobile"])
def test_the_signature_is_that_of_kerass_own(name: str) -> None:
    create = getattr(pnasnet.keras, name)
    theirs = inspect.signature(keras.applications.NASNetLarge).parameters
    ours = inspect.signature(create).parameters
    assert [(p.name, p.default) for p in ours.values() if p.name != "name"] == [
        (p.name, p.default) for p in theirs.values() if p.name != "name"
    ]


def test_named_networks_are_what_they_say() -> None:
    model = pnasnet.keras.NASNetMobile(weights=None, include_top=False, pooling="avg")
    assert (model.name, model.input.shape, model.output.shape) == ("nasnet_mobile", (None, 224, 224, 3), (None, 1056))
    assert model.count_params() == 4_269_716  # of Keras's own, which its torch backend refuses


def test_bad_arguments_are_one_line() -> None:
    with pytest.raises(InputError, match="pooling is 'mean': use 'avg', 'max' or None"):
        pnasnet.keras.build("pnasnet_tiny", pooling="mean")
    with pytest.raises(InputError, match=r"input_shape is \(32, 32\): use \(height, width, 3\)"):
        pnasnet.keras.build("pnasnet_tiny", input_shape=(32, 32))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="classes must be at least 1, not 0"):
        pnasnet.keras.build("pnasnet_tiny", weights=None, classes=0)
    with pytest.raises(UnknownNameError, match="unknown model 'pnasnet_tin'"):
        pnasnet.keras.build("pnasnet_tin")
    spec = NetworkSpec(PNASNET5, 3, 8, (32, 32), None, stem="cifar")
    with pytest.raises(InputError, match="the weights have no classifier: pass include_top=False"):
        pnasnet.keras.build(spec, weights=drawn(spec))
