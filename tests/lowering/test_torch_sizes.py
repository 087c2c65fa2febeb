"""Networks of several image sizes with one set of weights."""

from dataclasses import replace

import pytest
import torch

from pnasnet.architecture.plan import resolve
from pnasnet.lowering.torch_network import Network
from pnasnet.lowering.torch_sizes import NetworkSizes, sharing_weights

from tests.helpers.train_data import SPEC


def network(size: int = 16) -> Network:
    torch.manual_seed(0)
    return Network(resolve(replace(SPEC, image_size=(size, size))), batch_norm_momentum=0.7)


def images(size: int) -> torch.Tensor:
    return torch.rand((4, size, size, 3), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [8, 11, 16])
def test_equals_a_network_of_that_size(size: int) -> None:
    first, expected = network(), network(size)
    expected.load_state_dict(first.state_dict())
    got = NetworkSizes(first.eval()).at(size)(images(size), ("Logits",))
    torch.testing.assert_close(got["Logits"], expected.eval()(images(size), ("Logits",))["Logits"])


def test_training_at_one_size_moves_the_weights_and_averages_of_all() -> None:
    first = network()
    before = {name: value.clone() for name, value in first.state_dict().items()}
    other = NetworkSizes(first).at(8)
    first.drop_path_progress.fill_(0.0)
    assert other.drop_path_progress.item() == 0
    assert other.training
    optimizer = torch.optim.SGD(first.parameters(), 0.1)
    other(images(8), ("Logits",))["Logits"].square().sum().backward()
    optimizer.step()
    changed = {name for name, value in first.state_dict().items() if not torch.equal(value, before[name])}
    assert "final_layer.FC.weight" in changed
    assert any(name.endswith("running_mean") for name in changed)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in first.state_dict().items())
    norm = next(m for m in other.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.momentum == pytest.approx(0.3)


def test_moving_one_moves_all() -> None:
    first = network()
    other = sharing_weights(first, (8, 8))
    first.double()
    assert {p.dtype for p in other.parameters()} == {torch.float64}


def test_making_one_draws_no_random_numbers() -> None:
    """Else a resumed training, which makes it in another epoch, would see other random numbers in that epoch."""
    sizes = NetworkSizes(network())
    before = torch.get_rng_state()
    sizes.at(8)
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_moving_averages_are_frozen_at_all_sizes() -> None:
    first = network()
    first.freeze_batch_norm()
    other = NetworkSizes(first, freeze_batch_norm=True).at(8)
    before = {name: value.clone() for name, value in first.state_dict().items() if "running" in name}
    other(images(8), ("Logits",))
    assert before
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in before.items())


def test_modes_follow_the_first() -> None:
    first = network()
    sizes = NetworkSizes(first)
    assert sizes.at(16) is first
    assert sizes.at(8) is sizes.at(8)
    first.eval()
    assert not sizes.at(8).training
    first.train()
    assert sizes.at(8).training
