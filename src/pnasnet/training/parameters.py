"""A network's parameters in groups for an optimizer: lower learning rates for earlier cells, L2 for kernels alone.

Example:
    >>> import torch
    >>> from pnasnet import Module
    >>> from pnasnet.training.parameters import parameter_groups
    >>> module = Module("pnasnet_tiny", trainable=True, tags={"train"})
    >>> optimizer = torch.optim.SGD(parameter_groups(module.network, 0.1, layer_decay=0.8))
    >>> round(optimizer.param_groups[0]["lr"], 3), round(optimizer.param_groups[-1]["lr"], 3)
    (0.1, 0.033)
"""

from typing import Any

from torch import nn

from ..architecture.torch_names import parameter_name
from ..errors import InputError
from ..lowering.torch_network import Network


def parameter_groups(
    network: Network, learning_rate: float, *, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Return every trainable parameter once, in groups for `torch.optim`, the last layers first.

    The classifiers, including the auxiliary one, get `learning_rate`. The last cell gets `layer_decay` times as much,
    each earlier cell `layer_decay` times the next one's, and the stem's convolution the least. Parameters that do not
    require gradients are left out.

    Args:
        network: the network.
        learning_rate: the highest rate.
        weight_decay: for kernels; scales, offsets and biases have none, as in TF-Slim. Leave it 0 if the gradients
            include the L2 terms, by `network.regularization_loss()` or `network.add_regularization_gradients()`;
            otherwise `network.plan.spec.weight_decay` makes SGD do the same.
        layer_decay: in (0, 1]; 1 for the same rate in all layers.

    Raises:
        InputError: a number out of range, or a wrapper around a network.

    """
    if not isinstance(network, Network):
        raise InputError(
            f"a {type(network).__name__} changes the names of parameters, by which they are grouped: pass the network "
            "itself, before torch.compile or DistributedDataParallel"
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
    """Return the distance of a parameter from the output: 0 for the classifiers, 1 for the last cell, and so on."""
    plan, scope = network.plan, parameter.split(".")[0]
    depths = {cell.scope: depth for depth, cell in enumerate(reversed(plan.cells), 1)}
    heads = {"final_layer", plan.aux.scope if plan.aux else ""}
    return 0 if scope in heads else depths.get(scope, len(plan.cells) + 1)
