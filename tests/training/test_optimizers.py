"""RMSProp against TensorFlow's formula in NumPy; Muon against torch's own, which accepts matrices alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pnasnet.training.optimizers import RMSPropTF, make_optimizer, newton_schulz
from pnasnet.training.recipe import Muon, RmsProp, Sgd

START = np.array([1.0, -2.0, 0.5, 0.0])


def gradient(step: int) -> np.ndarray:
    return np.array([0.3, -1.0, 4.0, 0.0]) * (1 + 0.5 * step)


def run(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer], steps: int = 5) -> np.ndarray:
    parameter = torch.tensor(START, requires_grad=True)
    optimizer = make([parameter])
    for step in range(steps):
        parameter.grad = torch.from_numpy(gradient(step))
        optimizer.step()
    return parameter.detach().numpy()


def by_the_formula(rate: float, decay: float, momentum: float, epsilon: float, steps: int = 5) -> np.ndarray:
    """ms = decay ms + (1 - decay) g²; mom = momentum mom + lr g / sqrt(ms + epsilon); var -= mom. `ms` begins at 1."""
    variable, mean_square, moment = START.copy(), np.ones(4), np.zeros(4)
    for step in range(steps):
        g = gradient(step)
        mean_square = decay * mean_square + (1 - decay) * g * g
        moment = momentum * moment + rate * g / np.sqrt(mean_square + epsilon)
        variable = variable - moment
    return variable


@pytest.mark.parametrize(
    ("decay", "momentum", "epsilon"), [(0.9, 0.9, 1.0), (0.9, 0.9, 1e-10), (0.5, 0.0, 0.1), (0.99, 0.7, 1.0)]
)
def test_equals_tensorflows_formula(decay: float, momentum: float, epsilon: float) -> None:
    ours = run(lambda params: RMSPropTF(params, 0.1, decay=decay, momentum=momentum, epsilon=epsilon))
    np.testing.assert_allclose(ours, by_the_formula(0.1, decay, momentum, epsilon), rtol=1e-12)


def test_one_step_by_hand() -> None:
    """ms = 0.9 + 0.1 * 4² = 2.5; step = 0.1 * 4 / sqrt(2.5 + 1)."""
    moved = START[2] - run(lambda params: RMSPropTF(params, 0.1), steps=1)[2]
    assert moved == pytest.approx(0.4 / np.sqrt(3.5))


def test_torchs_rmsprop_differs() -> None:
    ours = run(lambda params: RMSPropTF(params, 0.1, epsilon=1.0))
    theirs = run(lambda params: torch.optim.RMSprop(params, 0.1, alpha=0.9, momentum=0.9, eps=1.0))
    assert np.abs(ours - theirs)[:3].min() > 0.01


def test_groups_rates_closures_and_parameters_without_gradients() -> None:
    first, second, still = (torch.ones(2, requires_grad=True) for _ in range(3))
    optimizer = make_optimizer(RmsProp(), [{"params": [first, still], "lr": 0.1}, {"params": [second], "lr": 0.01}])

    def closure() -> float:
        optimizer.zero_grad()
        loss = (first + second).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == 4
    assert (1 - first[0]).item() == pytest.approx(10 * (1 - second[0]).item(), rel=1e-4)
    assert still.tolist() == [1, 1]
    assert still not in optimizer.state


def test_state_goes_through_a_checkpoint() -> None:
    parameter = torch.ones(3, requires_grad=True)
    optimizer = RMSPropTF([parameter], 0.1)
    parameter.grad = torch.ones(3)
    optimizer.step()
    other = RMSPropTF([parameter], 0.7)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == 0.1
    assert other.state[parameter]["mean_square"].tolist() == [1, 1, 1]
    assert other.state[parameter]["velocity"].tolist() == optimizer.state[parameter]["velocity"].tolist()


def test_sgd_is_that_of_torch() -> None:
    optimizer = make_optimizer(Sgd(0.8, nesterov=True), [{"params": [torch.ones(1, requires_grad=True)], "lr": 0.3}])
    assert isinstance(optimizer, torch.optim.SGD)
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["nesterov"], group["lr"], group["weight_decay"]) == (0.8, True, 0.3, 0)


def kernels(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def some_steps(optimizer: torch.optim.Optimizer, parameters: list[torch.Tensor], steps: int = 4) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            drawn = torch.randn(tuple(parameter.squeeze().shape), generator=generator)
            parameter.grad = drawn.reshape(parameter.shape)
        optimizer.step()


def test_muon_of_kernels_is_torchs_of_matrices() -> None:
    shapes = [(6, 4), (4, 6), (6, 4), (5, 5)]
    ours, theirs = kernels(*((*shape, 1, 1) for shape in shapes)), kernels(*shapes)
    muon = Muon(momentum=0.8, decay=0.1)
    some_steps(make_optimizer(muon, [{"params": ours, "lr": 0.05, "weight_decay": 7.0}]), ours)
    # Theirs averages the gradients where ours adds them up, which is the same to a step that is normalized.
    some_steps(torch.optim.Muon(theirs, 0.05, weight_decay=0.1, momentum=0.8), theirs)
    for mine, other, first in zip(ours, theirs, kernels(*shapes), strict=True):
        torch.testing.assert_close(mine[:, :, 0, 0], other, rtol=0, atol=0.01)
        assert (other - first).abs().max() > 0.05


def test_muon_leaves_all_else_to_sgd() -> None:
    """Depthwise kernels, scales and matrices: with Nesterov momentum, their own rate and the L2 term."""
    shapes = [(6, 1, 3, 3), (6,), (3, 6)]
    ours, theirs = kernels(*shapes), kernels(*shapes)
    muon = Muon(momentum=0.8, decay=9.0, others=3.0)
    some_steps(make_optimizer(muon, [{"params": ours, "lr": 0.05, "weight_decay": 0.1}]), ours)
    some_steps(torch.optim.SGD(theirs, 0.15, momentum=0.8, nesterov=True, weight_decay=0.1), theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_newton_schulz_brings_singular_values_near_1() -> None:
    for shape in ((2, 20, 30), (2, 30, 20)):
        matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        result = newton_schulz(matrices)
        assert result.dtype == torch.float32
        values = torch.linalg.svdvals(result)
        assert 0.6 < values.min() < values.max() < 1.3
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        cosine = torch.nn.functional.cosine_similarity((left @ right).flatten(), result.flatten(), dim=0)
        assert cosine > 0.95
