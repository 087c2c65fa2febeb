"""From names, files, folders and mappings to a checked model."""

import hashlib
import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

import pnasnet
from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import PublishedWeights, find, find_named
from pnasnet.errors import (
    CorruptWeightsError,
    InputError,
    SpecError,
    UnknownNameError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from pnasnet.module.open import metadata, open_model
from pnasnet.weights import write_weights

from tests.helpers.golden_weights import draw
from tests.helpers.weights_files import write_checkpoint

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def drawn(name: str, **changes: Any) -> dict[str, Any]:
    return {n: np.abs(draw(n, s)) for n, s in resolve(find(name).spec).variables().items()} | changes


@pytest.mark.parametrize("folder", ["tiny_slim", "tiny_hub_tf1", "tiny_hub_tf2"])
def test_real_folders_open_without_naming_the_network(folder: str) -> None:
    model = open_model(CHECKPOINTS / folder, image_size=(64, 64))
    assert (model.spec.num_cells, model.spec.filters, model.spec.image_size) == (3, 8, (64, 64))
    assert model.spec.num_classes == (5 if folder == "tiny_slim" else None)


def test_a_hub_module_states_its_image_size() -> None:
    assert open_model(CHECKPOINTS / "tiny_hub_tf1").spec.image_size == (64, 64)


def test_a_mapping_is_accepted_as_weights() -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"))
    assert model.origin == "the given mapping"
    assert len(model.checksum) == 64
    assert set(model.variables) == set(resolve(find("pnasnet_tiny").spec).variables())


def test_the_auxiliary_head_may_be_missing_when_training() -> None:
    model = open_model("nasnet_cifar", drawn("nasnet_cifar"), training=True)
    assert not any(name.startswith("aux_") for name in model.variables)


def test_all_differences_are_in_one_error() -> None:
    weights = drawn("pnasnet_tiny", unheard_of=np.zeros(3), **{"l1_stem_bn/beta": np.zeros(7)})
    del weights["cell_0/1x1/weights"]
    with pytest.raises(WeightsMismatchError) as caught:
        open_model("pnasnet_tiny", weights)
    for part in ("unheard_of", "l1_stem_bn/beta: 7, not 48", "cell_0/1x1/weights"):
        assert part in str(caught.value)


def test_an_exported_file_opens_as_the_same_model(tmp_path: Path) -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"))
    model.labels, model.preset = tuple("abcdefghij"), "slim"
    write_weights(tmp_path / "own.safetensors", drawn("pnasnet_tiny"), **metadata(model))
    again = open_model(tmp_path / "own.safetensors")
    assert (again.name, again.spec, again.labels, again.preset) == (model.name, model.spec, model.labels, "slim")


def test_classes_without_names_keep_none(tmp_path: Path) -> None:
    """A thousand classes of a user are not ImageNet's."""
    spec = replace(find("pnasnet_tiny").spec, num_classes=1000)
    weights = {n: np.abs(draw(n, s)) for n, s in resolve(spec).variables().items()}
    model = open_model("pnasnet_tiny", weights)
    model.labels = None
    write_weights(tmp_path / "own.safetensors", weights, **metadata(model))
    assert open_model(tmp_path / "own.safetensors").labels is None


def test_metadata_of_other_software_are_ignored(tmp_path: Path) -> None:
    save_file(drawn("pnasnet_tiny"), tmp_path / "m.safetensors", {"labels": "cat,dog", "preset": "x", "spec": "x"})
    model = open_model(tmp_path / "m.safetensors")
    assert (model.name, model.labels, model.preset) == ("pnasnet_tiny", None, "hub")


def test_a_named_list_of_labels_must_fit_too(tmp_path: Path) -> None:
    spec = json.dumps(find("pnasnet_tiny").spec.to_dict())
    said: dict[str, Any] = {"model": "x", "spec": spec, "origin": "", "classes": 10, "label_offset": 0}
    write_weights(tmp_path / "m.safetensors", drawn("pnasnet_tiny"), **said, extra={"labels": "imagenet1000"})
    with pytest.raises(CorruptWeightsError, match="1000 labels for 10 classes"):
        open_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["timm/pnasnet5large.tf_in1k", "pnasnet_large"])
def test_a_published_set_for_a_network_without_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has precedence over a file of that name, as for networks with names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "cache"))
    Path(name).mkdir(parents=True)
    with pytest.raises(WeightsNotFoundError, match="not on this machine"):
        open_model(find("pnasnet_large").spec, name, offline=True)


@pytest.mark.parametrize("spec", ["{", "[]", json.dumps({"num_cells": 3}), "[" * 100_000])
def test_a_file_with_a_damaged_description_is_refused(tmp_path: Path, spec: str) -> None:
    path = tmp_path / "own.safetensors"
    write_weights(path, drawn("pnasnet_tiny"), model="x", spec=spec, origin="", classes=10, label_offset=0)
    with pytest.raises(CorruptWeightsError, match="does not describe a possible network"):
        open_model(path)


def test_labels_must_fit_the_classes(tmp_path: Path) -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"))
    model.labels = ("only one",)
    write_weights(tmp_path / "own.safetensors", drawn("pnasnet_tiny"), **metadata(model))
    with pytest.raises(CorruptWeightsError, match="1 labels for 10 classes"):
        open_model(tmp_path / "own.safetensors")


def test_a_thousand_classes_without_background() -> None:
    weights = {n: np.ones(s, np.float32) for n, s in resolve(find("nasnet_mobile").spec).variables().items()}
    weights["final_layer/FC/weights"] = np.ones((1056, 1000), np.float32)
    weights["final_layer/FC/biases"] = np.ones(1000, np.float32)
    model = open_model("nasnet_mobile", weights)
    assert model.spec.num_classes == 1000
    assert model.labels is not None
    assert model.labels[0].startswith("tench")


def test_a_new_classifier_replaces_the_old_one() -> None:
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
def test_missing_files_are_named(model: str, weights: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_model(model, weights)


@pytest.mark.parametrize(
    ("name", "network", "published", "signature"),
    [
        ("pnasnet-5_mobile_2017_12_13", "pnasnet_mobile", "pnasnet-5_mobile_2017_12_13", None),
        ("timm/nasnetalarge.tf_in1k", "nasnet_large", "timm/nasnetalarge.tf_in1k", None),
        ("pnasnet5large", "pnasnet_large", "timm/pnasnet5large.tf_in1k", None),
        ("pnasnet5large.tf_in1k", "pnasnet_large", "timm/pnasnet5large.tf_in1k", None),
        ("hf-hub:timm/nasnetalarge.tf_in1k", "nasnet_large", "timm/nasnetalarge.tf_in1k", None),
        (
            "https://www.kaggle.com/models/google/nasnet/TensorFlow2/mobile-classification/2",
            "nasnet_mobile",
            "nasnet-a_mobile_04_10_2017",
            "image_classification",
        ),
    ],
)
def test_every_listed_or_foreign_name_finds_its_weights(
    name: str, network: str, published: str, signature: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(record: PublishedWeights, *, offline: bool | None) -> Path:
        raise WeightsNotFoundError(f"asked for {record.id}")

    monkeypatch.setattr("pnasnet.module.open.fetch", fetch)
    with pytest.raises(WeightsNotFoundError, match=f"^asked for {re.escape(published)}$"):
        open_model(name)
    named = find_named(name)
    assert named is not None
    assert (named.network.name, named.signature) == (network, signature)


def test_a_folder_has_precedence_over_a_set_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CHECKPOINTS / "tiny_slim", "pnasnet-5_large_2017_12_13")
    assert open_model("pnasnet-5_large_2017_12_13").spec.filters == 8


def test_a_url_that_is_no_handle_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"'https://example\.org/m\.tar\.gz' is neither .*download the file"):
        open_model("https://example.org/m.tar.gz")


@pytest.mark.parametrize("value", [np.int64(3), np.uint8(3), 3])
def test_whole_numbers_of_any_kind_are_classes(value: Any, tmp_path: Path) -> None:
    model = open_model("pnasnet_tiny", drawn("pnasnet_tiny"), num_classes=value, training=True)
    assert type(model.spec.num_classes) is int
    json.dumps(model.spec.to_dict())


@pytest.mark.parametrize("value", [2.0, 10.0, "3", True, np.float32(3), np.True_])
def test_other_values_are_no_classes(value: Any) -> None:
    with pytest.raises(SpecError, match=r"num_classes must be a whole number, not "):
        open_model("pnasnet_tiny", drawn("pnasnet_tiny"), num_classes=value, training=True)


@pytest.mark.parametrize("size", [64, (64,), (32.0, 32.0), "64", (0, 32)])
def test_an_image_size_is_height_and_width(size: Any) -> None:
    with pytest.raises(SpecError, match="image_size must be"):
        open_model("pnasnet_tiny", drawn("pnasnet_tiny"), image_size=size)


@pytest.mark.parametrize("name", ["nasnet_mobile", "pnasnet_tiny"])
def test_images_too_small_for_a_network_are_refused_with_the_least_size(name: str) -> None:
    with pytest.raises(
        SpecError, match=r"images of 1x1 are too small for this network: use at least (\d+)x\1"
    ) as caught:
        open_model(name, drawn(name), image_size=(1, 1))
    found = int(str(caught.value).rpartition("x")[2])
    assert open_model(name, drawn(name), image_size=(found, found)).spec.image_size == (found, found)
    with pytest.raises(SpecError, match="too small"):
        open_model(name, drawn(name), image_size=(found - 1, found - 1))


def converted(path: Path, *model: Any) -> bytes:
    Module(*model).export(path)
    return path.read_bytes()


def test_equal_weights_of_four_formats_convert_to_equal_bytes(tmp_path: Path) -> None:
    module = Module("pnasnet_tiny", drawn("pnasnet_tiny"), trainable=True)
    state = {name: value.contiguous() for name, value in module.network.state_dict().items()}
    torch.save({"module." + name: value for name, value in state.items()}, tmp_path / "a.pth")
    save_torch(state, tmp_path / "b.safetensors")
    write_checkpoint(tmp_path / "c.ckpt", drawn("pnasnet_tiny"))
    module.export(tmp_path / "d.safetensors")
    sources = [tmp_path / name for name in ("a.pth", "b.safetensors", "c.ckpt", "d.safetensors")]
    written = [converted(tmp_path / "out.safetensors", source) for source in sources for _ in range(2)]
    assert len(set(written)) == 1
    assert len({open_model(source).checksum for source in sources}) == 1
    assert written[0] == converted(tmp_path / "out.safetensors", "pnasnet_tiny", sources[2])


def test_the_checksum_of_the_file_still_identifies_the_weights() -> None:
    model = open_model("pnasnet_tiny")
    shipped = Path(pnasnet.__file__).parent / "data" / "pnasnet_tiny.safetensors"
    assert model.identified_by(hashlib.sha256(shipped.read_bytes()).hexdigest())
    assert model.identified_by(model.checksum)
    assert not model.identified_by("0" * 64)


@pytest.mark.parametrize(("wanted", "factor"), [(None, 2), (True, 2), (False, 1)])
def test_moving_averages_may_be_chosen(wanted: bool | None, factor: int, tmp_path: Path) -> None:
    plain = drawn("pnasnet_tiny")
    averages = {f"{name}/ExponentialMovingAverage": 2 * value for name, value in plain.items()}
    write_checkpoint(tmp_path / "m.ckpt", plain | averages)
    arrays = open_model(tmp_path / "m.ckpt", moving_averages=wanted).arrays()
    np.testing.assert_array_equal(arrays["final_layer/FC/biases"], factor * plain["final_layer/FC/biases"])


def test_a_published_set_that_was_evaluated_without_averages_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, spec = "final_layer/FC/biases", find("pnasnet_tiny").spec
    plain = drawn("pnasnet_tiny") | {name: np.zeros(10, np.float32)}
    write_checkpoint(tmp_path / "m", plain | {f"{name}/ExponentialMovingAverage": plain[name] + 1})
    monkeypatch.setattr("pnasnet.module.open.fetch", lambda record, *, offline: tmp_path / "m")
    published = "pnasnet-5_large_2017_12_13"  # a network without sets of its own accepts every set
    assert open_model(spec, published).arrays()[name].max() == 0
    assert open_model(spec, published, moving_averages=True).arrays()[name].max() == 1
    assert open_model(spec, "nasnet-a_large_04_10_2017").arrays()[name].max() == 1


@pytest.mark.parametrize("kind", ["own", "renamed", "other"])
def test_an_auxiliary_head_is_read_by_either_name_or_starts_at_random(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan = resolve(find("nasnet_cifar").spec)
    weights = {n: np.abs(draw(n, s)) for n, s in plan.variables(training=True).items()}
    old = next(name for name in weights if name.endswith("aux_logits/FC/weights"))
    if kind != "own":
        new = "fully_connected" if kind == "renamed" else "Dense"
        weights = {name.replace("aux_logits/FC", f"aux_logits/{new}"): value for name, value in weights.items()}
    with caplog.at_level(logging.INFO, "pnasnet"):
        module = Module("nasnet_cifar", weights, trainable=True, tags={"train"})
    expected = draw(old, plan.variables(training=True)[old])
    assert np.array_equal(module.variables[old], np.abs(expected)) == (kind != "other")
    assert ("the auxiliary head differs; a new one is initialised at random" in caplog.text) == (kind == "other")


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(InputError, match="the model has an empty name"):
        open_model("")


def test_a_missing_folder_is_not_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsNotFoundError, match="model"):
        open_model("model/")
