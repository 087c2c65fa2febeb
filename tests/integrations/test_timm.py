"""This package's networks in timm's registry. Skipped without timm: `scripts/test-timm` runs them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import NETWORKS, find
from pnasnet.errors import InputError, SpecError
from pnasnet.integrations.timm_weights import write_timm

from tests.helpers.golden_weights import draw
from tests.helpers.timm_import import import_timm

timm = import_timm()
import pnasnet.timm  # noqa: E402 - after timm

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
X = torch.from_numpy(IMAGES * 2 - 1).permute(0, 3, 1, 2)


def test_every_network_is_registered_once() -> None:
    pnasnet.timm.register()  # again, without a warning
    assert set(NETWORKS) <= set(timm.list_models())
    assert {"pnasnet_large.tf_slim", "pnasnet_large.timm", "pnasnet_large.cadene"} <= set(timm.list_pretrained())
    assert timm.is_model_pretrained("pnasnet_tiny")
    assert not timm.is_model_pretrained("nasnet_cifar")


def test_logits_and_features_are_the_modules() -> None:
    module = Module("pnasnet_tiny")
    model = timm.create_model("pnasnet_tiny", pretrained=True)
    features = timm.create_model("pnasnet_tiny", pretrained=True, num_classes=0)
    with torch.no_grad():
        np.testing.assert_allclose(model(X), module(IMAGES, "image_classification"), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(features(X), module(IMAGES), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.forward_head(model.forward_features(X)), model(X))
    model.reset_classifier(3)
    assert model(X).shape == (2, 3)
    assert timm.create_model("pnasnet_tiny", pretrained=True, num_classes=7)(X).shape == (2, 7)


def test_its_configuration_prepares_images() -> None:
    model = timm.create_model("pnasnet_tiny", pretrained=True)
    config = timm.data.resolve_data_config({}, model=model)
    assert config["input_size"] == (3, 32, 32)
    assert config["mean"] == config["std"] == (0.5, 0.5, 0.5)
    assert (config["interpolation"], config["crop_pct"], config["crop_mode"]) == ("bilinear", 1.0, "squash")
    assert model.default_cfg["architecture"] == "pnasnet_tiny"
    assert timm.get_pretrained_cfg("pnasnet_large").num_classes == 1000
    assert timm.get_pretrained_cfg("pnasnet_large.timm").hf_hub_id == "timm/pnasnet5large.tf_in1k"
    assert timm.create_model("nasnet_mobile").num_classes == 1000


def test_maps_of_each_resolution() -> None:
    model = timm.create_model("pnasnet_tiny", pretrained=True, features_only=True, out_indices=(0, 2))
    maps = model(X)
    assert model.feature_info.channels() == [each.shape[1] for each in maps]
    assert model.feature_info.reduction() == [32 // each.shape[2] for each in maps]


def test_weights_of_the_users_own(tmp_path: Path) -> None:
    trained = Module("pnasnet_tiny", trainable=True)
    trained.trainable_variables[0].data.add_(0.1)
    trained.export(tmp_path / "own.safetensors")
    overlay = {"file": str(tmp_path / "own.safetensors")}
    model = timm.create_model("pnasnet_tiny", pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    np.testing.assert_allclose(model(X).detach(), trained(IMAGES), rtol=1e-4, atol=1e-4)
    torch.save(model.state_dict(), tmp_path / "saved.pth")
    again = timm.create_model("pnasnet_tiny", num_classes=0, checkpoint_path=str(tmp_path / "saved.pth"))
    torch.testing.assert_close(again(X), model(X))


def test_bad_input() -> None:
    with pytest.raises(InputError, match="in_chans=1: pnasnet_tiny has 3 input channels"):
        timm.create_model("pnasnet_tiny", in_chans=1)
    for size in (40, np.int64(40), [40, 40]):
        assert timm.create_model("pnasnet_tiny", img_size=size)(torch.zeros(1, 3, 40, 40)).shape == (1, 10)
    with pytest.raises(SpecError, match="image_size"):
        timm.create_model("pnasnet_tiny", img_size=4.5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "theirs"), [("pnasnet_large", "pnasnet5large"), ("nasnet_large", "nasnetalarge")])
def test_converted_weights_load_into_timms_own_model(name: str, theirs: str, tmp_path: Path) -> None:
    shapes = resolve(find(name).spec).variables()
    drawn = {n: np.abs(draw(n, s)) if "moving" in n else draw(n, s) for n, s in shapes.items()}
    assert write_timm(Module(name, drawn), tmp_path / "w.safetensors").model == theirs
    model = timm.create_model(theirs, checkpoint_path=str(tmp_path / "w.safetensors"))  # all names and shapes fit
    np.testing.assert_array_equal(model.last_linear.weight.detach(), drawn["final_layer/FC/weights"][:, 1:].T)
