"""Parameter groups: every parameter once, lower rates for earlier cells, L2 on kernels alone."""

from typing import Any

import pytest
import torch

from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import InputError
from pnasnet.lowering.torch_network import Network
from pnasnet.training.parameters import parameter_groups

CELL = CellSpec.of([("sep3", 1, "max3", 0), ("identity", 0, "avg3", 1)])


def network() -> Network:
    torch.manual_seed(0)
    spec = NetworkSpec(CELL, 3, 4, (32, 32), 5, stem="cifar", stem_multiplier=1.0)
    return Network(resolve(spec), aux_head=True)


def group_of(network: Network, groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the one group of each parameter, by the parameter's name."""
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found)
    return {name: found[id(p)] for name, p in network.named_parameters() if id(p) in found}


def test_each_parameter_is_in_one_group() -> None:
    small = network()
    groups = parameter_groups(small, 0.1)
    assert set(group_of(small, groups)) == {name for name, _ in small.named_parameters()}
    assert all(group["params"] for group in groups)


def test_earlier_cells_learn_more_slowly() -> None:
    small = network()
    groups = parameter_groups(small, 0.8, layer_decay=0.5)
    rates = {name: group["lr"] for name, group in group_of(small, groups).items()}
    assert rates["final_layer.FC.weight"] == rates["final_layer.FC.bias"] == 0.8
    assert rates["aux_1.aux_logits.FC.weight"] == rates["aux_1.aux_logits.aux_bn0.weight"] == 0.8
    assert rates["cell_2.1x1.weight"] == rates["cell_2.beginning_bn.bias"] == pytest.approx(0.4)
    assert rates["cell_1.1x1.weight"] == pytest.approx(0.2)
    assert rates["cell_0.1x1.weight"] == pytest.approx(0.1)
    assert rates["l1_stem_3x3.weight"] == rates["l1_stem_bn.weight"] == pytest.approx(0.05)
    assert [group["lr"] for group in groups] == sorted((group["lr"] for group in groups), reverse=True)


def test_the_cells_of_the_imagenet_stem_and_reduction_cells_are_cells() -> None:
    spec = NetworkSpec(CELL, 3, 16, (64, 64), 5, CELL, stem_multiplier=0.25)
    deep = Network(resolve(spec))
    rates = {n: g["lr"] for n, g in group_of(deep, parameter_groups(deep, 1.0, layer_decay=0.5)).items()}
    scopes = [cell.scope for cell in deep.plan.cells]
    assert scopes[:2] == ["cell_stem_0", "cell_stem_1"]
    assert [rates[f"{scope}.1x1.weight"] for scope in scopes] == [0.5**n for n in range(len(scopes), 0, -1)]
    assert rates["conv0.weight"] == 0.5 ** (len(scopes) + 1)


def test_weight_decay_is_the_kernels_alone() -> None:
    small = network()
    decays = {n: g["weight_decay"] for n, g in group_of(small, parameter_groups(small, 0.1, weight_decay=3e-4)).items()}
    for name, parameter in small.named_parameters():
        assert decays[name] == (3e-4 if parameter.ndim > 1 else 0.0), name


def test_weight_decay_of_sgd_is_the_gradient_of_the_l2_terms() -> None:
    by_loss, by_optimizer = network(), network()
    by_loss.regularization_loss().backward()  # type: ignore[no-untyped-call]
    for parameter in by_optimizer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.SGD(parameter_groups(by_loss, 10.0)).step()
    torch.optim.SGD(parameter_groups(by_optimizer, 10.0, weight_decay=by_optimizer.plan.spec.weight_decay)).step()
    untouched = dict(network().named_parameters())
    for (name, a), b in zip(by_loss.named_parameters(), by_optimizer.parameters(), strict=True):
        torch.testing.assert_close(a, b)
        assert torch.equal(a, untouched[name]) == (a.ndim == 1), name


def test_frozen_parameters_are_left_out_and_no_group_is_empty() -> None:
    small = network()
    small.requires_grad_(False)
    small.get_submodule("final_layer").requires_grad_(True)
    groups = parameter_groups(small, 0.1, layer_decay=0.7)
    assert set(group_of(small, groups)) == {"final_layer.FC.weight", "final_layer.FC.bias"}
    assert len(groups) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layer_decay": 0.0}, "layer_decay"), ({"layer_decay": 1.5}, "layer_decay"), ({"weight_decay": -1.0}, "weight")],
)
def test_numbers_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parameter_groups(network(), 0.1, **options)


def test_a_wrapped_network_is_refused() -> None:
    """Its parameters have other names, by which no kernel would be known for one."""
    with pytest.raises(
        InputError, match="a Sequential changes the names of parameters, by which they are grouped: pass the network"
    ):
        parameter_groups(torch.nn.Sequential(network()), 0.1)  # type: ignore[arg-type]
