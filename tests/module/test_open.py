"""From names, files, folders and mappings to a checked model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.errors import CorruptWeightsError, InputError, UnknownNameError, WeightsMismatchError, WeightsNotFoundError
from pnasnet.module.open import metadata, open_model
from pnasnet.weights import write_weights

from tests.helpers.golden_weights import draw

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def drawn(name: str, **changes: Any) -> dict[str, Any]:
    return {n: np.abs(draw(n, s)) for n, s in resolve(find(name).spec).variables().items()} | changes


@pytest.mark.parametrize("folder", ["tiny_slim", "tiny_hub_tf1", "tiny_hub_tf2"])
def test_real_folders_open_without_being_told_the_network(folder: str) -> None:
    model = open_model(CHECKPOINTS / folder, image_size=(64, 64))
    assert (model.spec.num_cells, model.spec.filters, model.spec.image_size) == (3, 8, (64, 64))
    assert model.spec.num_classes == (5 if folder == "tiny_slim" else None)


def test_a_hub_module_states_its_image_size() -> None:
    assert open_model(CHECKPOINTS / "tiny_hub_tf1").spec.image_size == (64, 64)


def test_a_mapping_is_taken_as_weights() -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"))
    assert model.origin == "the given mapping"
    assert len(model.checksum) == 64
    assert set(model.variables) == set(resolve(find("pnasnet_tiny").spec).variables())


def test_the_auxiliary_head_may_be_missing_when_training() -> None:
    model = open_model("nasnet_cifar", drawn("nasnet_cifar"), training=True)
    assert not any(name.startswith("aux_") for name in model.variables)


def test_all_differences_come_in_one_error() -> None:
    weights = drawn("pnasnet_tiny", unheard_of=np.zeros(3), **{"l1_stem_bn/beta": np.zeros(7)})
    del weights["cell_0/1x1/weights"]
    with pytest.raises(WeightsMismatchError) as caught:
        open_model("pnasnet_tiny", weights)
    for part in ("unheard_of", "l1_stem_bn/beta: 7, not 48", "cell_0/1x1/weights"):
        assert part in str(caught.value)


def test_a_file_of_ours_opens_as_what_it_was(tmp_path: Path) -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"))
    model.labels, model.preset = tuple("abcdefghij"), "slim"
    write_weights(tmp_path / "own.safetensors", drawn("pnasnet_tiny"), **metadata(model))
    again = open_model(tmp_path / "own.safetensors")
    assert (again.name, again.spec, again.labels, again.preset) == (model.name, model.spec, model.labels, "slim")


def test_classes_without_names_stay_without(tmp_path: Path) -> None:
    """A thousand classes of one's own are not ImageNet's."""
    spec = replace(find("pnasnet_tiny").spec, num_classes=1000)
    weights = {n: np.abs(draw(n, s)) for n, s in resolve(spec).variables().items()}
    model = open_model("pnasnet_tiny", weights)
    model.labels = None
    write_weights(tmp_path / "own.safetensors", weights, **metadata(model))
    assert open_model(tmp_path / "own.safetensors").labels is None


def test_what_others_state_in_their_files_is_not_believed(tmp_path: Path) -> None:
    save_file(drawn("pnasnet_tiny"), tmp_path / "m.safetensors", {"labels": "cat,dog", "preset": "x", "spec": "x"})
    model = open_model(tmp_path / "m.safetensors")
    assert (model.name, model.labels, model.preset) == ("pnasnet_tiny", None, "hub")


def test_a_list_of_labels_by_its_name_must_fit_too(tmp_path: Path) -> None:
    spec = json.dumps(find("pnasnet_tiny").spec.to_dict())
    said: dict[str, Any] = {"model": "x", "spec": spec, "origin": "", "classes": 10, "label_offset": 0}
    write_weights(tmp_path / "m.safetensors", drawn("pnasnet_tiny"), **said, extra={"labels": "imagenet1000"})
    with pytest.raises(CorruptWeightsError, match="1000 labels for 10 classes"):
        open_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["timm/pnasnet5large.tf_in1k", "pnasnet_large"])
def test_a_published_set_by_its_name_for_a_network_that_has_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes before what is called so on this machine, as with networks that have names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "cache"))
    Path(name).mkdir(parents=True)
    with pytest.raises(WeightsNotFoundError, match="not on this machine"):
        open_model(find("pnasnet_large").spec, name, offline=True)


@pytest.mark.parametrize("spec", ["{", "[]", json.dumps({"num_cells": 3}), "[" * 100_000])
def test_a_file_that_describes_nonsense_is_refused(tmp_path: Path, spec: str) -> None:
    path = tmp_path / "own.safetensors"
    write_weights(path, drawn("pnasnet_tiny"), model="x", spec=spec, origin="", classes=10, label_offset=0)
    with pytest.raises(CorruptWeightsError, match="describes no network"):
        open_model(path)


def test_labels_must_fit_the_classes(tmp_path: Path) -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"))
    model.labels = ("only one",)
    write_weights(tmp_path / "own.safetensors", drawn("pnasnet_tiny"), **metadata(model))
    with pytest.raises(CorruptWeightsError, match="1 labels for 10 classes"):
        open_model(tmp_path / "own.safetensors")


def test_a_thousand_classes_are_taken_as_they_are() -> None:
    weights = {n: np.ones(s, np.float32) for n, s in resolve(find("nasnet_mobile").spec).variables().items()}
    weights["final_layer/FC/weights"] = np.ones((1056, 1000), np.float32)
    weights["final_layer/FC/biases"] = np.ones(1000, np.float32)
    model = open_model("nasnet_mobile", weights)
    assert model.spec.num_classes == 1000
    assert model.labels is not None
    assert model.labels[0].startswith("tench")


def test_a_new_classifier_leaves_the_old_one_out() -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"), num_classes=3, training=True)
    assert model.spec.num_classes == 3
    assert not any(name.startswith("final_layer") for name in model.variables)
    with pytest.raises(InputError, match="trainable=True"):
        open_model("pnasnet_tiny", drawn("pnasnet_tiny"), num_classes=3)


@pytest.mark.parametrize(
    ("model", "weights", "error", "message"),
    [
        ("pnasnet_tinny", None, UnknownNameError, "did you mean pnasnet_tiny"),
        ("pnasnet_tinny", {}, UnknownNameError, "did you mean pnasnet_tiny"),
        ("nowhere/model.ckpt", None, WeightsNotFoundError, "does not exist"),
        ("pnasnet_tiny", "timm/other", WeightsNotFoundError, "does not exist"),
        ("pnasnet_tiny", "other", WeightsNotFoundError, "neither a file nor a published set"),
        ("pnasnet_cifar", None, WeightsNotFoundError, "has no weights"),
        ("pnasnet_large", None, WeightsNotFoundError, "pnasnet-5_large_2017_12_13"),
    ],
)
def test_what_is_not_there_is_named(model: str, weights: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_model(model, weights)
