"""Signatures: those of a hub module opened by its folder are what its own `saved_model.pb` states."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find

from tests.helpers.golden_weights import draw
from tests.helpers.weights_files import chunk, number, write_checkpoint

IMAGES = np.full((2, 32, 32, 3), 0.5, np.float32)
PLAN = resolve(find("pnasnet_tiny").spec)
VARIABLES = {name: np.abs(draw(name, shape)) for name, shape in PLAN.variables().items()}


def tensor(name: str, *sizes: int) -> bytes:
    dims = b"".join(chunk(2, number(1, size)) for size in sizes)
    return chunk(1, name.encode()) + chunk(2, chunk(3, dims))


def graph(signatures: dict[str, int], tag: str = "", output: str = "default") -> bytes:
    """Return a graph variant with signatures of these names, whose outputs have these lengths."""
    value = chunk(1, chunk(4, tag.encode())) if tag else b""
    for name, length in signatures.items():
        signature = chunk(1, tensor("images", -1, 32, 32, 3)) + chunk(2, tensor(output, -1, length))
        value += chunk(5, chunk(1, name.encode()) + chunk(2, signature))
    return chunk(2, value)


def module_folder(folder: Path, *graphs: bytes, tf1: bool = True) -> Path:
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(b"".join(graphs))
    if tf1:
        (folder / "tfhub_module.pb").write_bytes(number(1, 3))
    write_checkpoint(folder / "variables" / "variables", VARIABLES)
    return folder


FEATURES, LOGITS = 960, 10


def test_the_default_of_a_classification_module_is_its_logits(tmp_path: Path) -> None:
    names = {"default": LOGITS, "image_classification": LOGITS, "image_feature_vector": FEATURES}
    module = Module(module_folder(tmp_path, graph(names)))
    assert module.get_signature_names() == ["default", "image_feature_vector", "image_classification"]
    assert module(IMAGES).shape == (2, LOGITS)
    np.testing.assert_array_equal(module(IMAGES), module(IMAGES, signature="image_classification"))
    assert module(IMAGES, signature="image_feature_vector").shape == (2, FEATURES)


def test_the_names_come_from_the_file(tmp_path: Path) -> None:
    module = Module(module_folder(tmp_path, graph({"default": LOGITS, "image_classification": LOGITS})))
    assert module.get_signature_names() == ["default", "image_classification"]
    with pytest.raises(ValueError, match="unknown signature 'image_feature_vector'"):
        module(IMAGES, signature="image_feature_vector")


def test_a_feature_vector_module_with_a_classifier_in_its_weights_has_none(tmp_path: Path) -> None:
    module = Module(module_folder(tmp_path, graph({"default": FEATURES, "image_feature_vector": FEATURES})))
    assert module.get_signature_names() == ["default", "image_feature_vector"]
    assert module(IMAGES).shape == (2, FEATURES)


def test_the_training_variant_has_signatures_of_its_own(tmp_path: Path) -> None:
    plain = {"default": FEATURES, "image_feature_vector": FEATURES}
    training = {**plain, "image_feature_vector_with_bn_hparams": FEATURES}
    folder = module_folder(tmp_path, graph(plain), graph(training, "train"))
    assert Module(folder).get_signature_names() == list(plain)
    assert Module(folder, tags={"train"}).get_signature_names() == list(training)


def test_a_saved_model_of_tf2_states_its_default_by_its_only_output(tmp_path: Path) -> None:
    served = graph({"serving_default": LOGITS}, "serve", output="output_0")
    module = Module(module_folder(tmp_path, served, tf1=False))
    assert module(IMAGES).shape == (2, LOGITS)
    assert "image_feature_vector" in module.get_signature_names()


def test_a_new_classifier_is_among_the_signatures(tmp_path: Path) -> None:
    folder = module_folder(tmp_path, graph({"default": FEATURES, "image_feature_vector": FEATURES}))
    module = Module(folder, num_classes=3, trainable=True)
    assert module(IMAGES, signature="image_classification").shape == (2, 3)
    assert module(IMAGES).shape == (2, FEATURES)


@pytest.mark.parametrize("options", [{}, {"trainable": True}])
def test_as_dict_of_the_default_signature(options: dict[str, Any]) -> None:
    module = Module("pnasnet_tiny", VARIABLES, **options)
    outputs = module(IMAGES, as_dict=True)
    assert list(outputs) == ["default", *(name for name in PLAN.endpoints() if name not in ("Logits", "Predictions"))]
    np.testing.assert_array_equal(outputs["default"], outputs["global_pool"])
    np.testing.assert_allclose(outputs["default"], module(IMAGES), rtol=1e-6)
    assert {name: value.shape for name, value in outputs.items()} == {
        name: (2, *info.shape[1:]) for name, info in module.get_output_info_dict().items()
    }
