"""The layers of a plan as torch's modules, registered where TF-Slim's scopes put them, and chained.

The modules are torch's own (`Conv2d`, `BatchNorm2d`, `Linear`), or such that pad or flatten first.
"""

from collections.abc import Callable, Sequence
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import BatchNorm, Conv, Dense, FactorizedReduction, GlobalPool, Layer, Padding, Pool, Relu, SeparableConv

Step = Callable[[Tensor], Tensor]


class Slot:
    """A place in the tree of modules: runs whatever module is there when it is called.

    `nn.SyncBatchNorm.convert_sync_batchnorm`, quantization and the like put other modules into these places.
    """

    def __init__(self, parent: nn.Module, name: str) -> None:
        """Name the place by the module above it and the name it has there."""
        self._parent, self._name = parent, name

    def __call__(self, x: Tensor) -> Tensor:
        """Run the module."""
        return getattr(self._parent, self._name)(x)  # type: ignore[no-any-return]


class Chain:
    """Steps one after the other. Not a module: its modules are registered where TF-Slim's scopes put them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Chain `steps`; without any, the chain returns what it is given."""
        self.steps = list(steps)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the steps."""
        for step in self.steps:
            x = step(x)
        return x


class LayerBuilder:
    """Turns layers into steps, and registers their modules by scope."""

    def __init__(self, root: nn.Module) -> None:
        """Build below `root`."""
        self._root = root

    def chain(self, layers: Sequence[Layer]) -> Chain:
        """Return the layers as a chain."""
        return Chain([self._step(layer) for layer in layers])

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

    def _step(self, layer: Layer) -> Step:
        match layer:
            case Relu():
                return functional.relu
            case Pool():
                return _pool(layer)
            case GlobalPool():
                return _global_pool
            case FactorizedReduction():
                return self._halving(layer)
            case Conv() | SeparableConv() | BatchNorm() | Dense():
                return self.register(layer.scope, _module(layer))
        raise TypeError(f"unknown layer {layer}")

    def _halving(self, layer: FactorizedReduction) -> Step:
        channels, (even_width, odd_width) = layer.input.channels, layer.widths
        even = _conv(channels, even_width, (1, 1), 2, Padding())
        odd = _conv(channels, odd_width, (1, 1), 1, Padding())
        return _Halving(
            self.register(f"{layer.scope}/path1_conv", even),
            self.register(f"{layer.scope}/path2_conv", odd),
            missing=(0, layer.input.width % 2, 0, layer.input.height % 2),
        )


class _Halving:
    """`FactorizedReduction`. Not a module: TF-Slim's scope for it may be the cell itself."""

    def __init__(self, even: Step, odd: Step, missing: tuple[int, int, int, int]) -> None:
        self._even, self._odd, self._missing = even, odd, missing

    def __call__(self, x: Tensor) -> Tensor:
        odd = functional.pad(x[:, :, 1::2, 1::2], self._missing)
        return torch.cat([self._even(x), self._odd(odd)], 1)


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


class _Conv2d(nn.Conv2d):
    """A convolution that pads as the plan says, which may be more at the end, as TensorFlow's SAME does."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int,
        padding: Padding,
        dilation: int,
        groups: int,
    ) -> None:
        # What both ends share is left to the convolution; only the surplus at the end costs a copy.
        start = (padding.top, padding.left)
        super().__init__(inputs, outputs, kernel, stride, start, dilation, groups, bias=False)
        surplus = (0, padding.right - padding.left, 0, padding.bottom - padding.top)
        self.surplus = surplus if any(surplus) else None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return super().forward(functional.pad(input, self.surplus) if self.surplus else input)


def _conv(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: int, padding: Padding,
    dilation: int = 1, groups: int = 1,
) -> nn.Conv2d:  # fmt: skip
    """Return a convolution without bias, with He's initialization by fan-out as in TF-Slim."""
    module = _Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups)
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


def _pool(layer: Pool) -> Step:
    start = (layer.padding.top, layer.padding.left)
    # Where TensorFlow pads one more at the end, the last window reaches over the edge: torch's ceil mode.
    reaches_over = (layer.padding.bottom, layer.padding.right) != start
    if layer.kind == "max":
        return nn.MaxPool2d(layer.kernel, layer.stride, start, ceil_mode=reaches_over)
    return nn.AvgPool2d(layer.kernel, layer.stride, start, ceil_mode=reaches_over, count_include_pad=False)


def _global_pool(x: Tensor) -> Tensor:
    return x.mean((2, 3))
