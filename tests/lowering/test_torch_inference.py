"""The network for inference: folded, merged, and in reduced precision, against TensorFlow and the plain network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.lowering.folding import Folding
from pnasnet.lowering.torch_inference import inference_network
from pnasnet.lowering.torch_network import Network

from tests.helpers.golden_weights import EVERY_OPERATION, SPECS, assert_endpoints, drawn, images, weights

NETWORKS = pytest.mark.parametrize(
    ("cell", "reduction", "stem"),
    [(PNASNET5, None, "cifar"), (NASNET_A_NORMAL, NASNET_A_REDUCTION, "imagenet"), (EVERY_OPERATION, None, "imagenet")],
    ids=["pnasnet", "nasnet", "every operation"],
)


def small(cell: CellSpec, reduction: CellSpec | None, stem: Any) -> NetworkSpec:
    """Return a network whose maps have odd sizes."""
    return NetworkSpec(cell, 3, 8, (41, 41), 5, reduction, stem=stem)


def outputs(network: Network, size: int = 41) -> dict[str, np.ndarray]:
    """Return all endpoints of the four photos' top left corners."""
    photos = torch.from_numpy(np.ascontiguousarray(images(224)[:, :size, :size]))
    with torch.inference_mode():
        found = network(photos, tuple(network.plan.endpoints()))
    return {name: value.float().numpy() for name, value in found.items()}


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() <= tolerance * np.abs(value).max(), name


@pytest.mark.parametrize("merge", [False, True], ids=["folded", "folded and merged"])
@pytest.mark.parametrize("name", ["nasnet_cifar", pytest.param("pnasnet_mobile", marks=pytest.mark.slow)])
def test_it_agrees_with_tensorflow(name: str, merge: bool) -> None:
    plan = resolve(SPECS[name])
    network = inference_network(plan, weights(name), merge=merge)
    with torch.inference_mode():
        found = network(torch.from_numpy(images(plan.spec.image_size[0])), tuple(plan.endpoints()))
    assert_endpoints(name, {endpoint: value.numpy() for endpoint, value in found.items()})


@NETWORKS
def test_folding_leaves_no_normalization_and_the_same_outputs(
    cell: CellSpec, reduction: CellSpec | None, stem: Any
) -> None:
    spec = small(cell, reduction, stem)
    plain = Network(resolve(spec)).eval()
    plain.load_variables(drawn(spec))
    folded = inference_network(resolve(spec), drawn(spec))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert_close(outputs(folded), outputs(plain), 1e-5)


@NETWORKS
def test_merging_leaves_fewer_kernels_and_the_same_outputs(
    cell: CellSpec, reduction: CellSpec | None, stem: Any
) -> None:
    spec = small(cell, reduction, stem)
    folded, merged = (inference_network(resolve(spec), drawn(spec), merge=merge) for merge in (False, True))
    convs = [sum(isinstance(module, nn.Conv2d) for module in network.modules()) for network in (folded, merged)]
    assert convs[1] < convs[0]
    numbers = [sum(parameter.numel() for parameter in network.parameters()) for network in (folded, merged)]
    assert numbers[0] == numbers[1]
    assert_close(outputs(merged), outputs(folded), 1e-6)


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.06)], ids=str)
def test_reduced_precision_is_close_and_features_are_float32(dtype: torch.dtype, tolerance: float, merge: bool) -> None:
    spec = small(PNASNET5, None, "cifar")
    network = inference_network(resolve(spec), drawn(spec), dtype, merge=merge)
    exact = outputs(inference_network(resolve(spec), drawn(spec)))
    found = outputs(network)
    assert_close(found, exact, tolerance)
    assert np.abs(found["Stem"] - exact["Stem"]).max() > 1e-5 * np.abs(exact["Stem"]).max()
    with torch.inference_mode():
        values = network(torch.zeros(1, 41, 41, 3), ("Stem", "global_pool", "Logits"))
    assert [value.dtype for value in values.values()] == [dtype, torch.float32, torch.float32]


def test_a_normalization_after_no_convolution_is_an_error() -> None:
    plan = resolve(small(PNASNET5, None, "cifar"))
    plan = replace(plan, stem=(*plan.stem, plan.pool[0], plan.stem[1]))  # convolution, normalization, ReLU, the same
    with pytest.raises(TypeError, match="a batch normalization after Relu cannot be folded"):
        Folding(plan, {})
