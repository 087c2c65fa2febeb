"""Networks for torch.hub and timm: an `nn.Module` from normalised images to a tensor."""

import copy
import io
import os
import pickle
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet import Module
from pnasnet.architecture.zoo import NETWORKS
from pnasnet.errors import InputError, SpecError
from pnasnet.integrations.image_network import ImageNetwork, create

from tests.helpers.golden_weights import SPECS, assert_endpoints, images, weights

ROOT = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


def normalised(array: Any) -> torch.Tensor:
    return torch.from_numpy(array * 2 - 1).permute(0, 3, 1, 2)


def hub(name: str, **options: Any) -> Any:
    return torch.hub.load(str(ROOT), name, source="local", **options)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def tiny() -> Any:
    return hub("pnasnet_tiny")


def scripted(model: Any, x: torch.Tensor) -> Any:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(model), buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)  # type: ignore[no-untyped-call]


def traced(model: Any, x: torch.Tensor) -> Any:
    return torch.jit.trace(model, x, strict=False)  # type: ignore[no-untyped-call]  # not strict: lists may come out


WAYS: dict[str, Any] = {
    "script": scripted,
    "trace": traced,
    "export": lambda model, x: torch.export.export(model, (x,)).module(),
    "deepcopy": lambda model, x: copy.deepcopy(model),
    "pickle": lambda model, x: pickle.loads(pickle.dumps(model)),
    "compile": lambda model, x: torch.compile(model, backend="eager", fullgraph=True),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The TorchScript type system:UserWarning")  # about torch's own GraphModule
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("features_only", [False, True])
def test_every_copy_computes_the_same(way: str, features_only: bool, tiny: Any) -> None:
    model = hub("pnasnet_tiny", features_only=True) if features_only else tiny
    x = normalised(IMAGES)
    with torch.no_grad():
        expected, found = model(x), WAYS[way](model, x)(x)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_logits_and_features_are_the_modules(tiny: Any) -> None:
    module, x = Module("pnasnet_tiny"), normalised(IMAGES)
    with torch.no_grad():
        logits, features = tiny(x).numpy(), hub("pnasnet_tiny", num_classes=0)(x).numpy()
        parts = tiny.forward_head(tiny.forward_features(x), pre_logits=True).numpy()
    np.testing.assert_allclose(logits, module(IMAGES, "image_classification"), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features, module(IMAGES), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(parts, features)


@pytest.mark.parametrize("name", ["pnasnet_mobile", "nasnet_mobile"])
def test_weights_of_others_equal_tf_slim_and_lose_the_background(name: str) -> None:
    size = SPECS[name].image_size[0]
    model = create(name, weights=weights(name))
    assert isinstance(model, ImageNetwork)
    with torch.no_grad():
        features = model.forward_features(normalised(images(size)))
        logits = model.forward_head(features)
        all_logits = create(name, weights=weights(name), num_classes=1001)(normalised(images(size)))
    assert_endpoints(name, {"global_pool": features.mean((2, 3)).numpy(), "Logits": all_logits.numpy()})
    assert model.num_classes == logits.shape[1] == 1000
    torch.testing.assert_close(logits, all_logits[:, 1:], rtol=1e-4, atol=1e-4)


def test_maps_of_each_resolution(tiny: Any) -> None:
    model, x = hub("pnasnet_tiny", features_only=True), normalised(IMAGES)
    maps = model(x)
    assert [(level["num_chs"], 32 // level["reduction"]) for level in model.feature_info] == [
        (each.shape[1], each.shape[2]) for each in maps
    ]
    torch.testing.assert_close(maps[-1], tiny.forward_features(x))
    outputs = Module("pnasnet_tiny")(IMAGES, as_dict=True)
    last = {value.shape[1]: value for value in outputs.values() if value.ndim == 4}  # in order: the last of each size
    for each in maps:
        np.testing.assert_allclose(
            each.detach().permute(0, 2, 3, 1).numpy(), np.maximum(last[each.shape[2]], 0), rtol=1e-4, atol=1e-4
        )
    (chosen,) = hub("pnasnet_tiny", features_only=True, out_indices=(-2,))(x)
    torch.testing.assert_close(chosen, maps[-2])
    large = create("pnasnet_mobile", pretrained=False, features_only=True)
    assert [level["reduction"] for level in large.feature_info] == [2, 4, 8, 16, 32]
    with pytest.raises(InputError, match="must be some numbers from 0 to"):
        hub("pnasnet_tiny", features_only=True, out_indices=(7,))
    with pytest.raises(InputError, match="num_classes must be at least 0, not -1"):
        hub("pnasnet_tiny", num_classes=-1)


def test_the_classifier_can_be_replaced() -> None:
    model, x = hub("pnasnet_tiny"), normalised(IMAGES)
    assert model.get_classifier().out_features == model.num_classes == 10
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)
    model.reset_classifier(0)
    assert model(x).shape == (2, model.num_features)
    model.reset_classifier(0, "")
    assert model(x).shape[:2] == (2, model.num_features)
    with pytest.raises(InputError, match="global_pool is 'max': use 'avg'"):
        model.reset_classifier(3, "max")


def test_it_trains() -> None:
    torch.manual_seed(0)
    model = hub("pnasnet_tiny", num_classes=3, drop_path_rate=0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(normalised(IMAGES)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items() if "running" in name)
    assert not torch.equal(model(normalised(IMAGES)), model(normalised(IMAGES)))  # paths are dropped at random


def test_sizes_and_bad_input(tiny: Any) -> None:
    assert hub("pnasnet_tiny", image_size=(40, 48))(torch.zeros(1, 3, 40, 48)).shape == (1, 10)
    assert tiny.pretrained_cfg["input_size"] == (3, 32, 32)
    assert tiny.pretrained_cfg["mean"] == tiny.pretrained_cfg["std"] == (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match=r"images are \[1, 3, 40, 48\], but the network is planned for"):
        tiny(torch.zeros(1, 3, 40, 48))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_path_rate": "x"}, "drop_path_rate must be a number, not 'x'"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate must be in \[0, 1\), not 1.0"),
        ({"drop_rate": 2}, r"drop_rate must be in \[0, 1\), not 2.0"),
        ({"drop_rate": float("nan")}, r"drop_rate must be in \[0, 1\), not nan"),
        ({"num_classes": 10**12}, "num_classes must be from 0 to 1e\\+07"),
        ({"num_classes": "3"}, "num_classes must be a whole number, not '3'"),
        ({"features_only": True, "out_indices": 1}, "out_indices must be a list, not 1"),
        ({"features_only": True, "out_indices": "ab"}, "out_indices must be a list, not 'ab'"),
        ({"features_only": True, "out_indices": [1.0]}, "out_indices must be a whole number, not 1.0"),
        ({"features_only": True, "out_indices": []}, r"out_indices=\(\) must be some numbers from 0 to 2"),
        ({"features_only": True, "out_indices": [-4]}, "out_indices must be at least -3, not -4"),
        ({"out_indices": [0]}, "out_indices chooses maps: pass features_only=True with it"),
        ({"features_only": "no"}, "features_only must be true or false, not 'no'"),
        ({"pretrained": "no"}, "pretrained must be true or false, not 'no'"),
        ({"global_pool": ["avg"]}, r"global_pool must be a string, not \['avg'\]"),
        ({"weights": 3}, "weights must be a string, a path or a mapping, not 3"),
        ({"image_size": 64}, r"image_size must be \(height, width\), such as \(64, 64\), not 64"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, SpecError), match=message):
        hub("pnasnet_tiny", **{"pretrained": False} | options)


def test_images_that_are_no_normalised_tensors(tiny: Any) -> None:
    with pytest.raises(InputError, match="images must be a torch tensor, not array"):
        tiny(normalised(IMAGES).numpy())
    with pytest.raises(InputError, match=r"images are torch\.uint8: scale them to floating-point numbers"):
        tiny(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(InputError, match="num_classes must be at least 0, not -1"):
        copy.deepcopy(tiny).reset_classifier(-1)


def test_every_network_has_an_entry_and_a_help() -> None:
    entries = runpy.run_path(str(ROOT / "hubconf.py"))
    for name in NETWORKS:
        assert entries[name].__name__ == name
        assert name in entries[name].__doc__
    assert hub("nasnet_cifar", pretrained=False).num_classes == 10


def test_without_the_package_installed_the_checkout_is_used() -> None:
    code = f"import torch; print(torch.hub.load({str(ROOT)!r}, 'pnasnet_tiny', source='local').num_classes)"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    blocked = "import sys; sys.path[:] = [p for p in sys.path if not p.endswith('/src')]; "
    command = [sys.executable, "-c", blocked + code]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, cwd="/", timeout=300)
    assert done.stdout.strip() == "10", done.stderr
