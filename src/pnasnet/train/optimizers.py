"""The optimizers of the recipes: torch's own, and TensorFlow 1's RMSProp, which torch's differs from."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor

from .recipe import RmsProp, Sgd


class RMSPropTF(torch.optim.Optimizer):
    """RMSProp as `tf.train.RMSPropOptimizer` computes it.

    mean_square = decay * mean_square + (1 - decay) * g²        (begins at 1, where torch begins at 0)
    velocity    = momentum * velocity + lr * g / sqrt(mean_square + epsilon)     (torch adds epsilon outside the root)
    parameter  -= velocity

    With TF-Slim's epsilon of 1 the difference decides whether a training works. Source: TensorFlow's kernel
    `ApplyRMSProp`, documented at `tf.raw_ops.ApplyRMSProp`.
    """

    def __init__(
        self, params: Any, lr: float = 0.0, *, decay: float = 0.9, momentum: float = 0.9, epsilon: float = 1.0
    ) -> None:
        """Take parameters or groups of them, as every torch optimizer."""
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take a step; `closure` computes the loss anew, as in every torch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        chosen = [p for p in group["params"] if p.grad is not None]
        if not chosen:
            return
        gradients = [p.grad for p in chosen]
        squares = [self._state(p, "mean_square", 1.0) for p in chosen]
        velocities = [self._state(p, "velocity", 0.0) for p in chosen]
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
        roots = torch._foreach_add(squares, group["epsilon"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_addcdiv_(velocities, gradients, roots, group["lr"])
        torch._foreach_sub_(chosen, velocities)

    def _state(self, parameter: Tensor, name: str, start: float) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.full_like(parameter, start, memory_format=torch.preserve_format)
        value: Tensor = state[name]
        return value


def make_optimizer(kind: Sgd | RmsProp, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return the optimizer of a recipe over groups of parameters that have their own `lr`."""
    match kind:
        case Sgd():
            return torch.optim.SGD(groups, lr=0.0, momentum=kind.momentum, nesterov=kind.nesterov, foreach=True)
        case RmsProp():
            return RMSPropTF(groups, decay=kind.decay, momentum=kind.momentum, epsilon=kind.epsilon)
