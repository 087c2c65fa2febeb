"""The layers of a plan as steps: functions of one tensor, run one after the other.

A step with parameters runs torch's own module (`Conv2d`, `BatchNorm2d`, `Linear`), registered under TF-Slim's
scope. A step without parameters is a value, equal to every step that computes the same, so that a result can be shared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..architecture.layers import (
    BatchNorm,
    Conv,
    Dense,
    FactorizedReduction,
    GlobalPool,
    Layer,
    Padding,
    Pool,
    Relu,
    SeparableConv,
)

LayerStep = Callable[[Tensor], Tensor]


class Slot:
    """A step that runs the module that is currently registered under one name of the module tree.

    Wrappers, quantization and `nn.SyncBatchNorm.convert_sync_batchnorm` replace registered modules.
    """

    def __init__(self, parent: nn.Module, name: str) -> None:
        self._parent, self._name = parent, name

    @property
    def module(self) -> nn.Module:
        """The module that is currently registered."""
        return getattr(self._parent, self._name)  # type: ignore[no-any-return]

    def __call__(self, *inputs: Any) -> Tensor:
        """Run the module."""
        return self.module(*inputs)  # type: ignore[no-any-return]


class LayerBuilder:
    """Turns layers into steps, and registers their modules below `root` by scope."""

    def __init__(self, root: nn.Module) -> None:
        self._root = root

    def steps(self, layers: Sequence[Layer]) -> tuple[LayerStep, ...]:
        """Return the steps of consecutive layers."""
        steps: list[LayerStep] = []
        for layer in layers:
            steps += self._steps(layer, owned=any(map(has_parameters, steps)))
        return tuple(steps)

    def register(self, scope: str, module: nn.Module) -> Slot:
        """Register a module under TF-Slim's scope."""
        *parents, name = scope.split("/")
        parent = self._root
        for part in parents:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(name, module)
        return Slot(parent, name)

    def _steps(self, layer: Layer, *, owned: bool) -> list[LayerStep]:
        """Return one layer's steps. If its input is `owned`, no other step reads it, and it may be overwritten."""
        match layer:
            case Relu():
                return [_relu_in_place if owned else functional.relu]
            case Pool():
                return [_pool(layer)]
            case GlobalPool():
                return [_global_pool]
            case FactorizedReduction():
                return [self._halving(layer)]
            case Conv() | SeparableConv():
                return [*_excess(layer.padding), self.register(layer.scope, _module(layer))]
            case BatchNorm() | Dense():
                return [self.register(layer.scope, _module(layer))]
        raise TypeError(f"unknown layer {layer}")

    def _halving(self, layer: FactorizedReduction) -> LayerStep:
        convs = [_conv(layer.input.channels, width, (1, 1), 2, Padding()) for width in layer.widths]
        even, odd = (self.register(f"{layer.scope}/path{i}_conv", conv) for i, conv in enumerate(convs, 1))
        return _Halving(even, odd, missing=(layer.input.height % 2, layer.input.width % 2))


def has_parameters(step: LayerStep) -> bool:
    """Return whether a step runs a module."""
    return isinstance(step, Slot | _Halving)


def run(steps: Sequence[LayerStep], x: Tensor) -> Tensor:
    """Run steps one after the other."""
    for step in steps:
        x = step(x)
    return x


@dataclass(frozen=True)
class _Halving:
    """`FactorizedReduction`. Not a module, because its scope in TF-Slim may be that of the whole cell."""

    even: Slot
    odd: Slot
    missing: tuple[int, int]
    """Rows and columns of zeros to add for the odd pixels: one for a map of odd size."""

    def __call__(self, x: Tensor) -> Tensor:
        rows, columns = self.missing
        moved = x[:, :, 1:, 1:]
        moved = functional.pad(moved, (0, columns, 0, rows)) if rows or columns else moved
        return torch.cat([self.even(x), self.odd(moved)], 1)


def _relu_in_place(x: Tensor) -> Tensor:
    return functional.relu(x, inplace=True)


def _module(layer: Conv | SeparableConv | BatchNorm | Dense) -> nn.Module:
    channels = layer.input.channels, layer.output.channels
    match layer:
        case Conv():
            return _conv(*channels, layer.kernel, layer.stride, layer.padding, layer.dilation)
        case SeparableConv():
            return _separable(layer)
        case BatchNorm():
            return nn.BatchNorm2d(channels[0], layer.epsilon)
        case Dense():
            return _dense(layer)


@dataclass(frozen=True)
class _Pad:
    """Zeros after the last column and row."""

    right: int
    bottom: int

    def __call__(self, x: Tensor) -> Tensor:
        return functional.pad(x, (0, self.right, 0, self.bottom))


def _excess(padding: Padding) -> list[LayerStep]:
    """Return the part of TensorFlow's SAME padding that torch's convolutions lack: the excess at the end."""
    # The convolution itself pads both ends equally; only the excess costs a copy.
    right, bottom = padding.right - padding.left, padding.bottom - padding.top
    return [_Pad(right, bottom)] if right or bottom else []


def _conv(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: int, padding: Padding,
    dilation: int = 1, groups: int = 1,
) -> nn.Conv2d:  # fmt: skip
    """Return a convolution without bias, to follow `_excess`, initialised as in TF-Slim: He's, by fan-out."""
    start = (padding.top, padding.left)
    module = nn.Conv2d(inputs, outputs, kernel, stride, start, dilation, groups, bias=False)
    nn.init.normal_(module.weight, std=sqrt(2 / (prod(kernel) * outputs / groups)))
    return module


def _separable(layer: SeparableConv) -> nn.Module:
    channels = layer.input.channels
    module = nn.Sequential()
    module.add_module("depthwise", _conv(channels, channels, layer.kernel, layer.stride, layer.padding, 1, channels))
    module.add_module("pointwise", _conv(channels, layer.output.channels, (1, 1), 1, Padding()))
    return module


class _Linear(nn.Linear):
    """A fully connected layer on [batch, channels] or on a 1x1 map, [batch, channels, 1, 1]."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return super().forward(input.flatten(1))


def _dense(layer: Dense) -> nn.Linear:
    module = _Linear(layer.input.channels, layer.output.channels)
    nn.init.trunc_normal_(module.weight, std=sqrt(1 / layer.input.channels))
    nn.init.zeros_(module.bias)
    return module


@dataclass(frozen=True)
class _Pool:
    kind: str
    size: int
    stride: int
    start: tuple[int, int]
    ceil_mode: bool

    def __call__(self, x: Tensor) -> Tensor:
        window = (self.size, self.stride, self.start)
        if self.kind == "max":
            return functional.max_pool2d(x, *window, ceil_mode=self.ceil_mode)
        return functional.avg_pool2d(x, *window, self.ceil_mode, count_include_pad=False)


def _pool(layer: Pool) -> LayerStep:
    start = (layer.padding.top, layer.padding.left)
    # If TensorFlow pads one more at the end, the last window extends over the edge, as in torch's ceil mode.
    ceil_mode = (layer.padding.bottom, layer.padding.right) != start
    return _Pool(layer.kind, layer.kernel, layer.stride, start, ceil_mode)


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3))
