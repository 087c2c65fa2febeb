"""The layers of a plan as torch's modules, registered where TF-Slim's scopes put them, and chained.

The modules are torch's own (`Conv2d`, `BatchNorm2d`), or such that flatten first (`Linear`). Steps without parameters
are values, equal where they do the same, so that what several chains begin with can be computed once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
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

Step = Callable[[Tensor], Tensor]


class Slot:
    """A place in the tree of modules: runs whatever module is there when it is called.

    `nn.SyncBatchNorm.convert_sync_batchnorm`, quantization and the like put other modules into these places.
    """

    def __init__(self, parent: nn.Module, name: str) -> None:
        """Name the place by the module above it and the name it has there."""
        self._parent, self._name = parent, name

    @property
    def module(self) -> nn.Module:
        """What is there now."""
        return getattr(self._parent, self._name)  # type: ignore[no-any-return]

    def __call__(self, *inputs: Any) -> Tensor:
        """Run the module."""
        return getattr(self._parent, self._name)(*inputs)  # type: ignore[no-any-return]


class Chain:
    """Steps one after the other. Not a module: its modules are registered where TF-Slim's scopes put them.

    Attributes:
        lead: the steps before the first one with parameters.
        rest: that one and what follows.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        """Chain `steps`; without any, the chain returns what it is given."""
        self.lead = tuple(takewhile(lambda step: not _has_parameters(step), steps))
        self.rest = tuple(steps[len(self.lead) :])

    def __call__(self, x: Tensor) -> Tensor:
        """Run the steps."""
        for step in (*self.lead, *self.rest):
            x = step(x)
        return x


class LayerBuilder:
    """Turns layers into steps, and registers their modules by scope."""

    def __init__(self, root: nn.Module) -> None:
        """Build below `root`."""
        self._root = root

    def chain(self, layers: Sequence[Layer]) -> Chain:
        """Return the layers as a chain."""
        steps: list[Step] = []
        for layer in layers:
            steps += self._steps(layer, owned=any(map(_has_parameters, steps)))
        return Chain(steps)

    def register(self, scope: str, module: nn.Module) -> Slot:
        """Put a module where the scope says."""
        *parents, name = scope.split("/")
        parent = self._root
        for part in parents:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(name, module)
        return Slot(parent, name)

    def _steps(self, layer: Layer, *, owned: bool) -> list[Step]:
        """Return a layer's steps. `owned`: nothing else reads what it is given, which may be overwritten."""
        match layer:
            case Relu():
                return [functional.relu_ if owned else functional.relu]
            case Pool():
                return [_pool(layer)]
            case GlobalPool():
                return [_global_pool]
            case FactorizedReduction():
                return [self._halving(layer)]
            case Conv() | SeparableConv():
                return [*_surplus(layer.padding), self.register(layer.scope, _module(layer))]
            case BatchNorm() | Dense():
                return [self.register(layer.scope, _module(layer))]
        raise TypeError(f"unknown layer {layer}")

    def _halving(self, layer: FactorizedReduction) -> Step:
        channels, (even_width, odd_width) = layer.input.channels, layer.widths
        even = _conv(channels, even_width, (1, 1), 1, Padding())
        odd = _conv(channels, odd_width, (1, 1), 1, Padding())
        return _Halving(
            self.register(f"{layer.scope}/path1_conv", even),
            self.register(f"{layer.scope}/path2_conv", odd),
            missing=_Pad(0, layer.input.width % 2, 0, layer.input.height % 2),
        )


class _Halving:
    """`FactorizedReduction`. Not a module: TF-Slim's scope for it may be the cell itself."""

    def __init__(self, even: Step, odd: Step, missing: "_Pad") -> None:
        self._even, self._odd, self._missing = even, odd, missing

    def __call__(self, x: Tensor) -> Tensor:
        # A compiler sees through slices, and makes one loop of them.
        even, odd = _slices(x) if torch.compiler.is_compiling() else _EveryOther.apply(x)  # type: ignore[no-untyped-call]
        return torch.cat([self._even(even), self._odd(self._missing(odd))], 1)


class _EveryOther(torch.autograd.Function):
    """The pixels with even coordinates, and those with odd ones.

    Slices alone give the same, but their backward pass takes longer: each writes a gradient of the whole map, mostly
    zeros, for autograd to add up.
    """

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        even, odd = (pixels.contiguous(memory_format=_memory_format(x)) for pixels in _slices(x))
        return even, odd

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.shape, ctx.layout = inputs[0].shape, _memory_format(inputs[0])

    @staticmethod
    def backward(ctx: Any, even: Tensor, odd: Tensor) -> Tensor:
        whole = torch.empty(ctx.shape, dtype=even.dtype, device=even.device, memory_format=ctx.layout).zero_()
        for pixels, gradient in zip(_slices(whole), (even, odd), strict=True):
            pixels.copy_(gradient)
        return whole


def _slices(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]


def _memory_format(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def _has_parameters(step: Step) -> bool:
    return isinstance(step, Slot | _Halving)


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
    """Zeros around a map."""

    left: int
    right: int
    top: int
    bottom: int

    def __call__(self, x: Tensor) -> Tensor:
        return functional.pad(x, (self.left, self.right, self.top, self.bottom))


def _surplus(padding: Padding) -> list[Step]:
    """Return the padding that a convolution of torch cannot do: where TensorFlow's SAME pads more at the end."""
    # What both ends share is left to the convolution; only the surplus costs a copy.
    right, bottom = padding.right - padding.left, padding.bottom - padding.top
    return [_Pad(0, right, 0, bottom)] if right or bottom else []


def _conv(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: int, padding: Padding,
    dilation: int = 1, groups: int = 1,
) -> nn.Conv2d:  # fmt: skip
    """Return a convolution without bias, to follow `_surplus`, with He's initialization by fan-out as in TF-Slim."""
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
    """A fully connected layer that takes a 1x1 map, [batch, channels, 1, 1], as well as [batch, channels]."""

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
    reaches_over: bool

    def __call__(self, x: Tensor) -> Tensor:
        window = (self.size, self.stride, self.start)
        if self.kind == "max":
            return functional.max_pool2d(x, *window, ceil_mode=self.reaches_over)
        return functional.avg_pool2d(x, *window, self.reaches_over, count_include_pad=False)


def _pool(layer: Pool) -> Step:
    start = (layer.padding.top, layer.padding.left)
    # Where TensorFlow pads one more at the end, the last window reaches over the edge: torch's ceil mode.
    reaches_over = (layer.padding.bottom, layer.padding.right) != start
    return _Pool(layer.kind, layer.kernel, layer.stride, start, reaches_over)


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3))
