"""The torch network against the golden outputs, and what training needs of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.architecture.torch_names import parameter_name
from pnasnet.architecture.zoo import find
from pnasnet.errors import InputError, UnknownNameError
from pnasnet.lowering.torch_cells import Cell, State
from pnasnet.lowering.torch_layers import run
from pnasnet.lowering.torch_network import Network

from tests.helpers.golden_weights import SPECS, assert_endpoints, draw, images, load, weights

GOLDEN_NETWORKS = [pytest.param(n, marks=[pytest.mark.slow] if n == "pnasnet_large" else []) for n in SPECS]


def golden_network(name: str, **options: Any) -> Network:
    network = Network(resolve(SPECS[name]), **options)
    network.load_variables(weights(name))
    return network


@pytest.mark.parametrize("name", GOLDEN_NETWORKS)
def test_every_endpoint_equals_tf_slim(name: str) -> None:
    network = golden_network(name).eval()
    endpoints = list(network.plan.endpoints())
    with torch.inference_mode():
        outputs = network(torch.from_numpy(images(network.plan.spec.image_size[0])), endpoints)
    assert_endpoints(name, {e: value.numpy() for e, value in outputs.items()})


def training_network(name: str) -> Network:
    """Return the network that the `train/` goldens were made with: no path dropout, fresh moving statistics."""
    plan = resolve(replace(find(name).spec, drop_path_keep=1.0))
    network = Network(plan, aux_head=True)
    drawn = {n: draw(n, shape) for n, shape in plan.variables(training=True).items() if "/moving_" not in n}
    fresh = {n: np.full(s, float(n.endswith("variance"))) for n, s in plan.variables(training=True).items()}
    network.load_variables(fresh | drawn)
    return network.train()


@pytest.mark.parametrize("name", ["pnasnet_mobile", "nasnet_cifar"])
def test_the_training_graph_equals_tf_slim(name: str) -> None:
    golden, network = load(name), training_network(name)
    batch = torch.from_numpy(images(network.plan.spec.image_size[0]))
    with torch.no_grad():
        outputs = network(batch, ("global_pool", "AuxLogits"))
        loss = network.regularization_loss().item()
    for endpoint, key in (("global_pool", "train/global_pool"), ("AuxLogits", "train/aux_logits")):
        expected = golden[key].astype(np.float32)
        np.testing.assert_allclose(outputs[endpoint].numpy(), expected, atol=1e-3 * np.abs(expected).max())
    assert loss == pytest.approx(golden["train/regularization_loss"].astype(float).item(), rel=1e-5)


def test_names_are_tf_slims() -> None:
    network = Network(resolve(find("nasnet_cifar").spec), aux_head=True)
    state = {key for key in network.state_dict() if not key.endswith(("num_batches_tracked", "drop_path_progress"))}
    assert state == {parameter_name(name) for name in network.plan.variables(training=True)}
    name = "cell_0/comb_iter_0/left/separable_5x5_1/depthwise_weights"
    assert parameter_name(name) == "cell_0.comb_iter_0.left.separable_5x5_1.depthwise.weight"


def test_variables_survive_the_way_in_and_out() -> None:
    network = Network(resolve(find("nasnet_cifar").spec))
    network.load_variables(weights("nasnet_cifar"))
    variables = network.to_variables()
    assert list(variables) == list(weights("nasnet_cifar"))
    for name, value in weights("nasnet_cifar").items():
        np.testing.assert_array_equal(variables[name], value)


def small(**changes: Any) -> Network:
    torch.manual_seed(0)
    return Network(resolve(replace(find("pnasnet_tiny").spec, **changes)))


def test_dropped_paths_are_whole_examples_and_scaled() -> None:
    network = small(drop_path_keep=0.5).train()
    cell = network.get_submodule("cell_3")
    assert isinstance(cell, Cell)
    branch, steps = cell.plan.blocks[0].right, cell._blocks[0][1]
    state = torch.rand(400, 96, 4, 4) + 1
    out = cell.path(branch, steps, [State(state)] * 6, torch.ones(()))
    plain = State(state).through(steps)
    ratio = (out / plain).flatten(1)
    assert (ratio == ratio[:, :1]).all()
    assert set(ratio[:, 0].tolist()) == {0.0, 2.0}
    assert (ratio[:, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    torch.testing.assert_close(cell.path(branch, steps, [State(state)] * 6, torch.zeros(())), plain)


def test_checkpointing_cells_changes_no_gradient() -> None:
    batch = torch.rand(2, 32, 32, 3)
    gradients = []
    for checkpointed in (False, True):
        network = small().train()
        network.checkpoint_cells = checkpointed
        network(batch, ("Logits",))["Logits"].square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    torch.testing.assert_close(*gradients)


def test_first_steps_that_branches_share_are_computed_once() -> None:
    network = small()
    cell = network.get_submodule("cell_1")
    assert isinstance(cell, Cell)
    state = State(torch.randn(2, 96, 8, 8))
    ran: list[str] = []

    def relu(x: torch.Tensor) -> torch.Tensor:
        ran.append("relu")
        return torch.relu(x)

    branches = [(relu, *steps[1:]) for steps in (cell._blocks[0][0], cell._blocks[1][0])]  # sep5 and sep7
    outputs = [state.through(steps) for steps in branches]
    assert ran == ["relu"]
    for steps, output in zip(branches, outputs, strict=True):
        torch.testing.assert_close(run(steps, state.value), output)


@pytest.mark.parametrize(
    ("endpoints", "training", "cells"),
    [
        (("Stem",), False, 0),
        (("Cell_0",), False, 1),
        (("Cell_1", "Cell_0"), False, 2),
        (("global_pool",), False, 4),
        (("Cell_0",), True, 4),
    ],
)
def test_only_the_computed_is_computed(endpoints: tuple[str, ...], training: bool, cells: int) -> None:
    """In training all cells are, since their moving averages move."""
    network = small(num_classes=None).train(training)
    ran = []
    for cell in (module for module in network.modules() if isinstance(module, Cell)):
        cell.register_forward_hook(lambda *_: ran.append(1))
    assert set(network(torch.rand(2, 32, 32, 3), endpoints)) == set(endpoints)
    assert len(ran) == cells


def test_a_module_that_replaces_a_cell_runs() -> None:
    """As wrappers of cells do: compilers, activation checkpointing, sharding."""

    class Wrapped(torch.nn.Module):
        def __init__(self, cell: torch.nn.Module) -> None:
            super().__init__()
            self.cell, self.calls = cell, 0

        def forward(self, *inputs: Any) -> torch.Tensor:
            self.calls += 1
            return self.cell(*inputs)  # type: ignore[no-any-return]

    network = small().eval()
    expected = network(torch.full((1, 32, 32, 3), 0.5))["global_pool"]
    network.cell_1 = Wrapped(network.get_submodule("cell_1"))
    torch.testing.assert_close(network(torch.full((1, 32, 32, 3), 0.5))["global_pool"], expected)
    assert network.cell_1.calls == 1


def test_variables_of_another_shape_are_refused() -> None:
    """One number would fill a whole vector."""
    network = small()
    with pytest.raises(InputError, match=r"l1_stem_bn/beta has the shape \(1,\) in torch's layout, not \("):
        network.load_variables({"l1_stem_bn/beta": np.zeros(1, np.float32)})


def test_unknown_endpoints() -> None:
    network = small(num_classes=None).eval()
    for unknown in ("Logits", "AuxLogits", "Cell_9"):
        with pytest.raises(UnknownNameError, match="unknown endpoint"):
            network(torch.rand(1, 32, 32, 3), (unknown,))


@pytest.mark.parametrize("size", [31, 32, 45])
@pytest.mark.parametrize(
    "operation", ["conv1x7_7x1", "dil3", "avg3", "max3", "sep7", "identity", "conv3", "conv1x3_3x1", "max7"]
)
def test_every_operation_runs_at_every_size(operation: str, size: int) -> None:
    cell = CellSpec.of([(operation, 0, operation, 1), ("sep3", 2, operation, 2)])
    plan = resolve(NetworkSpec(cell, 3, 4, (size, size + 1), 3, cell, "cifar"))
    outputs = Network(plan).eval()(torch.rand(2, size, size + 1, 3), list(plan.endpoints()))
    assert {name: value.shape[1:] for name, value in outputs.items()} == plan.endpoints()
