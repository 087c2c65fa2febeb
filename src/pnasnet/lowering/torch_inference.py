"""A torch network for inference alone: folded normalization, kernels in one precision, merged 1x1 convolutions."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..architecture.layers import BatchNorm, Conv, Relu
from ..architecture.plan import Layers, Plan
from ..architecture.torch_names import parameter_name, to_torch_layout
from .folding import Folding
from .torch_cells import Cell
from .torch_layers import LayerStep, Slot
from .torch_network import Network


def inference_network(
    plan: Plan, weights: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32, *, merge: bool = False
) -> Network:
    """Return a network for inference alone, channels last on the CPU.

    Images, features, logits and probabilities are float32; everything between is computed in `dtype`.

    Args:
        plan: the network.
        weights: its variables, in TensorFlow's layout.
        dtype: precision of kernels and maps.
        merge: whether 1x1 convolutions of the same map are merged into one, which reads the map once.
    """
    network = Network(plan).eval()
    folding = Folding(plan, weights)
    network.load_variables({name: value for name, value in weights.items() if name not in folding})
    for name in folding:
        _fold(network, folding, name)
    if merge:
        _merge_siblings(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype)
    network._stem = (_Cast(dtype), *network._stem)
    network._pool = (*network._pool[:-1], _global_pool)
    network.requires_grad_(False).use_memory_format(torch.channels_last)
    return network


@dataclass(frozen=True)
class _Cast:
    """Rounds a map."""

    dtype: torch.dtype

    def __call__(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def _global_pool(x: Tensor) -> Tensor:
    """Return the mean, float32 from maps of any precision."""
    return x.mean((2, 3), dtype=torch.float32)


# Folding.


def _fold(network: Network, folding: Folding, name: str) -> None:
    """Set a kernel and its offset, and remove the normalization."""
    conv: Any = network.get_submodule(_module_path(name))
    for leaf, value in (("weight", folding.kernel(name)), ("bias", folding.offset(name))):
        values = np.ascontiguousarray(to_torch_layout(name, value), np.float32)
        setattr(conv, leaf, nn.Parameter(torch.from_numpy(values), requires_grad=False))
    network.set_submodule(folding.norm(name).scope.replace("/", "."), nn.Identity())


def _module_path(variable: str) -> str:
    return parameter_name(variable).rpartition(".")[0]


# Merging.


@dataclass(frozen=True, eq=False)
class _Siblings:
    """One convolution in place of several that read the same map. `State` runs it once for all of them."""

    conv: Slot

    def __call__(self, x: Tensor) -> Tensor:
        return self.conv(x)


@dataclass(frozen=True)
class _Channels:
    """Selects the output channels of one of the merged convolutions."""

    start: int
    stop: int

    def __call__(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


@dataclass(frozen=True)
class _Reader:
    """A cell whose entry for one input (0: current, 1: previous) is ReLU and a 1x1 convolution."""

    cell: Cell
    side: int

    @property
    def steps(self) -> tuple[LayerStep, ...]:
        return self.cell._entry[self.side]

    def replace(self, steps: tuple[LayerStep, ...]) -> None:
        entry = list(self.cell._entry)
        entry[self.side] = steps
        self.cell._entry = (entry[0], entry[1])

    @property
    def conv(self) -> str:
        """The path of the convolution."""
        layer: Any = self.cell.plan.entry[self.side][1]
        return _module_path(f"{layer.scope}/weights")


def _merge_siblings(network: Network) -> None:
    """Merge the entry convolutions of different cells that read the same map."""
    # By the map that they read: 0 is the stem's output, then come those of the cells.
    readers: dict[int, list[_Reader]] = defaultdict(list)
    for index, slot in enumerate(network._cells):
        cell: Any = slot.module
        for side, state in enumerate((index, index + 1 - cell.plan.lookback)):
            if _is_pointwise(cell.plan.entry[side]):
                readers[state].append(_Reader(cell, side))
    for state, siblings in readers.items():
        if len(siblings) > 1:
            _merge(network, f"siblings_{state}", siblings)


def _is_pointwise(layers: Layers) -> bool:
    match layers:
        case Relu(), Conv(kernel=(1, 1), stride=1), BatchNorm():
            return True
    return False


def _merge(network: Network, name: str, siblings: list[_Reader]) -> None:
    convs: list[Any] = [network.get_submodule(sibling.conv) for sibling in siblings]
    widths = [conv.out_channels for conv in convs]
    merged = nn.Conv2d(convs[0].in_channels, sum(widths), 1)
    with torch.no_grad():
        merged.weight.copy_(torch.cat([conv.weight for conv in convs]))
        merged.bias.copy_(torch.cat([conv.bias for conv in convs]))  # type: ignore[union-attr]
    network.add_module(name, merged)
    shared, start = _Siblings(Slot(network, name)), 0
    for sibling, width in zip(siblings, widths, strict=True):
        sibling.replace((sibling.steps[0], shared, _Channels(start, start + width)))
        network.set_submodule(sibling.conv, nn.Identity())
        start += width
