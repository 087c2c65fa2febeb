"""A network's parameters in groups for an optimizer: lower learning rates for earlier cells, L2 on kernels alone."""

from typing import Any

from torch import nn

from ..errors import InputError
from ..lowering.torch_names import parameter_name
from ..lowering.torch_network import Network


def parameter_groups(
    network: Network, learning_rate: float, *, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return every trainable parameter once, in groups that `torch.optim` takes, the last layers first.

    The classifiers, the auxiliary one included, get `learning_rate`; the last cell gets `layer_decay` times as much,
    each earlier cell that much less again, and the stem's convolution the least. Parameters that do not require
    gradients are left out.

    Args:
        network: the network.
        learning_rate: the highest rate, a group's `lr`.
        weight_decay: of the kernels' groups; scales, offsets and biases have none, as in TF-Slim. 0 where the
            gradients have the L2 terms, by `network.regularization_loss()` or `network.add_regularization_gradients()`;
            without these, `network.plan.spec.weight_decay` has SGD do the same.
        layer_decay: in (0, 1]; 1 for one rate throughout.

    Raises:
        InputError: a number that makes no sense, or what is wrapped around a network.

    """
    if not isinstance(network, Network):
        raise InputError(
            f"parameters are grouped by their names in the network itself, which a {type(network).__name__} around it "
            "changes: give the network, before torch.compile or DistributedDataParallel"
        )
    if not 0 < layer_decay <= 1:
        raise InputError(f"layer_decay must be in (0, 1], not {layer_decay}")
    if learning_rate < 0 or weight_decay < 0:
        raise InputError(f"learning_rate={learning_rate} and weight_decay={weight_decay} must not be negative")
    kernels = {parameter_name(name) for name in network.plan.regularized()}
    grouped: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            grouped.setdefault((_depth(network, name), name in kernels), []).append(parameter)
    return [
        {
            "params": grouped[depth, is_kernel],
            "lr": learning_rate * layer_decay**depth,
            "weight_decay": weight_decay if is_kernel else 0.0,
        }
        for depth, is_kernel in sorted(grouped, key=lambda group: (group[0], not group[1]))
    ]


def _depth(network: Network, parameter: str) -> int:
    """Return how far a parameter is from the output: 0 for the classifiers, 1 for the last cell, and so on."""
    plan, scope = network.plan, parameter.split(".")[0]
    depths = {cell.scope: depth for depth, cell in enumerate(reversed(plan.cells), 1)}
    heads = {"final_layer", plan.aux.scope if plan.aux else ""}
    return 0 if scope in heads else depths.get(scope, len(plan.cells) + 1)
