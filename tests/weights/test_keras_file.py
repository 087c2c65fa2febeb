"""Weights that Keras wrote: of `keras.applications`' NASNet, and of this package's own Keras models."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import nasnet

import pnasnet.keras
from pnasnet import Module, NetworkSpec, open_weights
from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION
from pnasnet.architecture.plan import resolve
from pnasnet.errors import CorruptWeightsError, MissingExtraError, WeightsMismatchError
from pnasnet.lowering.keras_model import PaddedPool

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning", "ignore:You are saving your model as an HDF5:UserWarning"
)
IMAGES = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
SUFFIXES = (".weights.h5", ".keras", ".h5")


def spec(*, large: bool) -> NetworkSpec:
    return NetworkSpec(
        NASNET_A_NORMAL, 6, 4, (64, 64), 5, NASNET_A_REDUCTION, stem_multiplier=1.0, skip_reduction_input=large
    )


class SlimLayers(SimpleNamespace):
    """Keras's layers, but with pooling that pads as TF-Slim's: Keras's NASNet counts zeros in it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(keras.layers, name)

    def MaxPooling2D(self, size: Any, strides: Any, padding: str, name: str | None = None) -> Any:  # noqa: N802
        return lambda x: _pool("max", size[0], strides[0], x, name)

    def AveragePooling2D(self, size: Any, strides: Any, padding: str, name: str | None = None) -> Any:  # noqa: N802
        return lambda x: _pool("avg", size[0], strides[0], x, name)

    def ZeroPadding2D(self, padding: Any, name: str = "") -> Any:  # noqa: N802
        return (lambda x: x) if name.startswith("reduction_pad") else keras.layers.ZeroPadding2D(padding)


def _pool(kind: str, kernel: int, stride: int, x: Any, name: str | None) -> Any:
    total = max((-(-x.shape[1] // stride) - 1) * stride + kernel - x.shape[1], 0)
    first, last = total // 2, total - total // 2
    return PaddedPool(kind, kernel, stride, (first, last, first, last), name=name)(x)


Theirs = tuple[Any, Path, bool]
"""A model, the folder of its files, and whether it is like the large network."""


@pytest.fixture(scope="module", params=[False, True], ids=["mobile", "large"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Theirs:
    """Keras's own NASNet, small and with TF-Slim's pooling, and a folder of its files in each format."""
    folder = tmp_path_factory.mktemp("keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nasnet, "layers", SlimLayers())
        model = nasnet.NASNet((64, 64, 3), 96, 2, 32, request.param, 2, True, None, None, None, 5, 64, None)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if len(layer.weights) == 4:
            gamma, beta, mean, variance = generator.uniform(0.5, 1.5, (4, *layer.weights[0].shape))
            layer.set_weights([gamma, beta - 1, mean - 1, variance])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)  # its slots are in the files, too
    model.save_weights(folder / "model.weights.h5")
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    return model, folder, request.param


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nasnet_of_keras_applications(theirs: Theirs, suffix: str) -> None:
    model, folder, large = theirs
    module = Module(spec(large=large), folder / f"model{suffix}")
    expected = model.predict(2 * IMAGES - 1, verbose=0)
    found = module(IMAGES, signature="image_classification")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()))


def test_names_of_tensorflow_1(theirs: Theirs, tmp_path: Path) -> None:
    """Files of 2017: variables of a model that was built twice have a number in their scope, and end with `:0`."""
    _, folder, large = theirs
    with h5py.File(folder / "model.h5") as new, h5py.File(tmp_path / "old.h5", "w") as old:
        layers = new["model_weights"]
        for layer in (layer for layer in layers.attrs["layer_names"] if len(layers[layer].attrs["weight_names"])):
            for name in layers[layer].attrs["weight_names"]:
                old[f"{layer}/{layer}_1/{name.rpartition('/')[2]}:0"] = layers[layer][name][()]
    with open_weights(tmp_path / "old.h5") as found, open_weights(folder / "model.h5") as expected:
        assert found.checksum() == expected.checksum()
        assert found.shapes == resolve(replace(spec(large=large), aux_head=False)).variables()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_models_of_this_package(tmp_path: Path, suffix: str) -> None:
    model, path = pnasnet.keras.build("pnasnet_tiny"), tmp_path / f"model{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    with open_weights(path) as weights:
        assert weights.format == "Keras weights"
        written = {name: weights.arrays[name] for name in weights.arrays}
    assert written.keys() == Module("pnasnet_tiny").variables.keys()
    for name, value in Module("pnasnet_tiny").variables.items():
        np.testing.assert_array_equal(written[name], value, name)
    again = pnasnet.keras.build("pnasnet_tiny", weights=path)
    batch = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(again.predict(batch, verbose=0), model.predict(batch, verbose=0))


def test_a_model_within_a_model(tmp_path: Path) -> None:
    base = pnasnet.keras.build("pnasnet_tiny", include_top=False, pooling="avg")
    model = keras.Sequential([base, keras.layers.Dense(2, name="mine")])
    model(np.zeros((1, 32, 32, 3), np.float32))
    for suffix in SUFFIXES:
        model.save_weights(tmp_path / f"m{suffix}") if suffix == ".weights.h5" else model.save(tmp_path / f"m{suffix}")
        with pytest.raises(WeightsMismatchError, match=r"0 variables missing.* 2 unknown") as error:
            Module("pnasnet_tiny", tmp_path / f"m{suffix}")
        assert "mine/weights" in str(error.value)


class TestBadFiles:
    def write(self, path: Path, **options: Any) -> Path:
        with h5py.File(path, "w") as file:
            file.create_dataset("stem_conv1/kernel:0", data=np.zeros((3, 3, 3, 8), np.float32), **options)
        return path

    def test_what_keras_does_not_write(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.write_bytes(bytes(864))
        bad: list[dict[str, Any]] = [
            {"compression": "gzip"},
            {"chunks": (3, 3, 3, 1)},
            {"external": [(str(other), 0, 864)]},
        ]
        for number, options in enumerate(bad):
            path = self.write(tmp_path / f"{number}.h5", **options)
            with pytest.raises(CorruptWeightsError, match="stem_conv1/kernel:0 is not stored contiguously"):
                open_weights(path)

    def test_layers_without_names_as_keras_3_5_writes_them(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "old.weights.h5", "w") as file:
            file["layers/conv2d/vars/0"] = np.zeros((3, 3, 3, 8), np.float32)
        with pytest.raises(CorruptWeightsError, match=r"lacks the names of its layers, which Keras 3\.10 stores"):
            open_weights(tmp_path / "old.weights.h5")

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        whole = self.write(tmp_path / "whole.h5")
        with h5py.File(tmp_path / "links.h5", "w") as file:
            file["stem_conv1"] = h5py.ExternalLink(str(whole), "/stem_conv1")
            file["loop"] = h5py.SoftLink("/")
        with pytest.raises(CorruptWeightsError, match=r"cannot be read as weights of Keras: .+; save it again"):
            open_weights(tmp_path / "links.h5")

    def test_damage_is_one_line(self, tmp_path: Path) -> None:
        whole = self.write(tmp_path / "whole.h5").read_bytes()
        cut = tmp_path / "cut.h5"
        for size in (8, 100, len(whole) // 2, len(whole) - 1):
            cut.write_bytes(whole[:size])
            with pytest.raises(CorruptWeightsError, match=f"^{cut} cannot be read as weights of Keras: .*$"):
                open_weights(cut)

    def test_missing_pyfive_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.write(tmp_path / "whole.h5")
        monkeypatch.setitem(sys.modules, "pyfive", None)
        with pytest.raises(MissingExtraError, match=r"reading whole.h5 needs pyfive, .*: pip install 'pnasnet\[h5\]'"):
            open_weights(path)
