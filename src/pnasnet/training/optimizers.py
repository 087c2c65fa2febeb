"""The optimizers of recipes: torch's SGD, TensorFlow 1's RMSProp (torch's differs), and Muon."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from .recipe import Muon, RmsProp, Sgd

_STEPS = 5


class _GroupedOptimizer(torch.optim.Optimizer):
    """Base class of optimizers that update all parameters of a group at once, with constant initial states."""

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take a step. `closure` recomputes the loss, as in every torch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if chosen := [p for p in group["params"] if p.grad is not None]:
                self._step_group(group, chosen, [p.grad for p in chosen])
        return loss

    def _step_group(self, group: dict[str, Any], chosen: list[Tensor], gradients: list[Tensor]) -> None:
        raise NotImplementedError

    def _states(self, parameters: list[Tensor], name: str, start: float) -> list[Tensor]:
        for parameter in parameters:
            if name not in self.state[parameter]:
                first = torch.full_like(parameter, start, memory_format=torch.preserve_format)
                self.state[parameter][name] = first
        return [self.state[parameter][name] for parameter in parameters]


class RMSPropTF(_GroupedOptimizer):
    """RMSProp as in `tf.train.RMSPropOptimizer`.

    mean_square = decay * mean_square + (1 - decay) * g²        (starts at 1; torch starts at 0)
    velocity    = momentum * velocity + lr * g / sqrt(mean_square + epsilon)     (torch adds epsilon outside the root)
    parameter  -= velocity

    With TF-Slim's epsilon of 1 this difference decides whether a training works. Source: TensorFlow's kernel
    `ApplyRMSProp`, documented at `tf.raw_ops.ApplyRMSProp`.
    """

    def __init__(
        self, params: Any, lr: float = 0.0, *, decay: float = 0.9, momentum: float = 0.9, epsilon: float = 1.0
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon})

    def _step_group(self, group: dict[str, Any], chosen: list[Tensor], gradients: list[Tensor]) -> None:
        squares, velocities = self._states(chosen, "mean_square", 1.0), self._states(chosen, "velocity", 0.0)
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_addcdiv_(velocities, gradients, roots, group["lr"])
        torch._foreach_sub_(chosen, velocities)


class MuonWithSGD(_GroupedOptimizer):
    """Muon for the kernels that mix channels, SGD with Nesterov momentum for all other parameters.

    momentum   = m * momentum + g
    step       = g + m * momentum
    kernel     = (1 - lr * decay) * kernel - lr * sqrt(max(1, out / in)) * orthogonalized(step)
    parameter -= others * lr * step                      (with weight decay, g includes the L2 term's gradient)

    A kernel counts as a matrix of [out channels, everything else]. `torch.optim.Muon` accepts only matrices and updates
    one at a time; updating all kernels of a shape at once halves the time on a CPU.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float, decay: float, others: float) -> None:
        """Accept groups with `lr` and `weight_decay`. Each is split into kernels that mix channels and the rest."""
        split = []
        for group in groups:
            for mixing in (True, False):
                if chosen := [p for p in group["params"] if _mixes_channels(p) == mixing]:
                    own = {"weight_decay": decay} if mixing else {"lr": group["lr"] * others}
                    split.append({**group, "params": chosen, "orthogonal": mixing, **own})
        super().__init__(split, {"momentum": momentum})

    def _step_group(self, group: dict[str, Any], chosen: list[Tensor], gradients: list[Tensor]) -> None:
        momenta = self._states(chosen, "momentum_buffer", 0.0)
        if group["orthogonal"]:
            torch._foreach_mul_(chosen, 1 - group["lr"] * group["weight_decay"])
        else:
            gradients = list(torch._foreach_add(gradients, chosen, alpha=group["weight_decay"]))
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        steps = list(torch._foreach_add(gradients, momenta, alpha=group["momentum"]))
        if group["orthogonal"]:
            steps = _orthogonalized(steps)
        torch._foreach_add_(chosen, steps, alpha=-group["lr"])


def _mixes_channels(parameter: Tensor) -> bool:
    """Return whether a parameter is the kernel of a convolution that is not depthwise."""
    return parameter.ndim == 4 and parameter.shape[1] > 1


def _orthogonalized(kernels: Sequence[Tensor]) -> list[Tensor]:
    """Return the kernels with singular values near sqrt(max(1, out / in)). Equal shapes are computed at once."""
    result = list(kernels)
    for shape in {kernel.shape for kernel in kernels}:
        places = [i for i, kernel in enumerate(kernels) if kernel.shape == shape]
        matrices = newton_schulz(torch.stack([kernels[i].flatten(1) for i in places]))
        scale = max(1.0, matrices.shape[1] / matrices.shape[2]) ** 0.5
        for i, matrix in zip(places, matrices * scale, strict=True):
            result[i] = matrix.reshape(shape)
    return result


def newton_schulz(matrices: Tensor) -> Tensor:
    """Return the matrices with singular values near 1 (about 0.7 to 1.2), by five steps of a quintic iteration.

    Args:
        matrices: [N, rows, columns]; computed in bfloat16, whose rounding errors are small compared with that range.

    Returns:
        [N, rows, columns] in the same dtype.

    Source: Jordan et al., 2024, whose coefficients these are; as in `torch.optim.Muon`.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return (x.mT if tall else x).to(matrices.dtype)


def make_optimizer(kind: Sgd | RmsProp | Muon, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return a recipe's optimizer for groups of parameters with their own `lr` and `weight_decay`."""
    match kind:
        case Sgd():
            return torch.optim.SGD(groups, lr=0.0, momentum=kind.momentum, nesterov=kind.nesterov, foreach=True)
        case RmsProp():
            return RMSPropTF(groups, decay=kind.decay, momentum=kind.momentum, epsilon=kind.epsilon)
        case Muon():
            return MuonWithSGD(groups, momentum=kind.momentum, decay=kind.decay, others=kind.others)
