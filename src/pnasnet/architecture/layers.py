"""The layers of a plan: plain values that state every size, padding and variable name.

All shapes are (height, width, channels). Variables carry TF-Slim's names and TensorFlow's layouts: convolution
kernels [height, width, in, out], depthwise kernels [height, width, in, 1], dense kernels [in, out].
"""

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from ..errors import SpecError

VariableShapes = dict[str, tuple[int, ...]]
"""Variable name to shape, in TensorFlow's layout and TF-Slim's order of creation."""


class Shape(NamedTuple):
    """The shape of one image's feature map."""

    height: int
    width: int
    channels: int


class Padding(NamedTuple):
    """Rows and columns added around a map (zeros; for max pooling, minus infinity)."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return TensorFlow's SAME padding (before, after) along one axis; an odd pixel is added after.

    Source: TensorFlow's guide "Padding" under `tf.nn`, total = max((ceil(size/stride)-1)*stride + span - size, 0),
    where span is the extent of the dilated kernel.
    """
    span = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Layer:
    """Base of every layer: its input and output shapes."""

    input: Shape
    output: Shape

    def variables(self) -> VariableShapes:
        """Return the layer's variables. Most layers have none."""
        return {}

    @property
    def mult_adds(self) -> int:
        """Multiply-adds per image. As in the papers, only convolutions and the classifier count."""
        return 0


@dataclass(frozen=True)
class Relu(Layer):
    """max(x, 0)."""


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution without bias."""

    scope: str
    kernel: tuple[int, int]
    stride: int
    padding: Padding
    dilation: int = 1

    def variables(self) -> VariableShapes:
        """Return the kernel."""
        return {f"{self.scope}/weights": (*self.kernel, self.input.channels, self.output.channels)}

    @property
    def mult_adds(self) -> int:
        """Multiply-adds per image."""
        return prod(self.kernel) * self.input.channels * prod(self.output)


@dataclass(frozen=True)
class SeparableConv(Layer):
    """A depthwise convolution with the stride, followed directly by a 1x1 convolution."""

    scope: str
    kernel: tuple[int, int]
    stride: int
    padding: Padding

    def variables(self) -> VariableShapes:
        """Return the depthwise and the pointwise kernel."""
        channels = self.input.channels
        return {
            f"{self.scope}/depthwise_weights": (*self.kernel, channels, 1),
            f"{self.scope}/pointwise_weights": (1, 1, channels, self.output.channels),
        }

    @property
    def mult_adds(self) -> int:
        """Multiply-adds per image."""
        pixels = self.output.height * self.output.width
        return pixels * self.input.channels * (prod(self.kernel) + self.output.channels)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization with scale and offset."""

    scope: str
    epsilon: float

    def variables(self) -> VariableShapes:
        """Return gamma, beta and the moving statistics."""
        leaves = ("gamma", "beta", "moving_mean", "moving_variance")
        return {f"{self.scope}/{leaf}": (self.input.channels,) for leaf in leaves}


@dataclass(frozen=True)
class Pool(Layer):
    """Max or average pooling. Padding does not count in an average."""

    kind: str
    kernel: int
    stride: int
    padding: Padding


@dataclass(frozen=True)
class FactorizedReduction(Layer):
    """Halves a map: two 1x1 convolutions of stride 2, on the even and on the odd pixels, concatenated.

    The odd pixels are the even ones of the map moved up and left by one pixel, with zeros at the right and bottom.
    """

    scope: str

    @property
    def widths(self) -> tuple[int, int]:
        """Output channels of the two convolutions. An odd channel goes to the second."""
        half = self.output.channels // 2
        return half, self.output.channels - half

    def variables(self) -> VariableShapes:
        """Return the two kernels."""
        channels = self.input.channels
        return {f"{self.scope}/path{i}_conv/weights": (1, 1, channels, w) for i, w in enumerate(self.widths, 1)}

    @property
    def mult_adds(self) -> int:
        """Multiply-adds per image."""
        return self.input.channels * prod(self.output)


@dataclass(frozen=True)
class GlobalPool(Layer):
    """The mean over height and width."""


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer with bias, on a 1x1 map."""

    scope: str

    def variables(self) -> VariableShapes:
        """Return the kernel and the bias."""
        return {
            f"{self.scope}/weights": (self.input.channels, self.output.channels),
            f"{self.scope}/biases": (self.output.channels,),
        }

    @property
    def mult_adds(self) -> int:
        """Multiply-adds per image."""
        return self.input.channels * self.output.channels


class Stack:
    """Builds a sequence of layers: tracks the shape, decides the padding, and prefixes the scope."""

    def __init__(self, start: Shape, scope: str, epsilon: float) -> None:
        """Start with a map of shape `start`. `scope` prefixes all names."""
        self.shape, self.layers = start, list[Layer]()
        self._prefix, self._epsilon = f"{scope}/" if scope else "", epsilon

    def _add(self, layer: Layer) -> "Stack":
        self.layers.append(layer)
        self.shape = layer.output
        return self

    def relu(self) -> "Stack":
        """Append max(x, 0)."""
        return self._add(Relu(self.shape, self.shape))

    def batch_norm(self, name: str) -> "Stack":
        """Append batch normalization."""
        return self._add(BatchNorm(self.shape, self.shape, self._prefix + name, self._epsilon))

    def _window(
        self, kernel: tuple[int, int], stride: int, dilation: int, valid: bool, channels: int
    ) -> tuple[Shape, Padding]:
        """Return the output shape and the padding of a sliding window."""
        size = self.shape[:2]
        if valid:
            height, width = ((n - k) // stride + 1 for n, k in zip(size, kernel, strict=True))
            if min(height, width) < 1:
                raise SpecError(
                    f"a {kernel[0]}x{kernel[1]} window does not fit a {size[0]}x{size[1]} map; use larger images"
                )
            return Shape(height, width, channels), Padding()
        height, width = (-(-n // stride) for n in size)
        rows, columns = (same_padding(n, k, stride, dilation) for n, k in zip(size, kernel, strict=True))
        return Shape(height, width, channels), Padding(*rows, *columns)

    def conv(
        self, name: str, channels: int, kernel: tuple[int, int] = (1, 1), stride: int = 1, *,
        dilation: int = 1, valid: bool = False,
    ) -> "Stack":  # fmt: skip
        """Append a convolution, padded SAME unless `valid`."""
        output, padding = self._window(kernel, stride, dilation, valid, channels)
        return self._add(Conv(self.shape, output, self._prefix + name, kernel, stride, padding, dilation))

    def separable(self, name: str, channels: int, kernel: int, stride: int) -> "Stack":
        """Append a separable convolution, padded SAME."""
        square = (kernel, kernel)
        output, padding = self._window(square, stride, 1, False, channels)
        return self._add(SeparableConv(self.shape, output, self._prefix + name, square, stride, padding))

    def pool(self, kind: str, kernel: int, stride: int, *, valid: bool = False) -> "Stack":
        """Append `max` or `avg` pooling, padded SAME unless `valid`."""
        output, padding = self._window((kernel, kernel), stride, 1, valid, self.shape.channels)
        return self._add(Pool(self.shape, output, kind, kernel, stride, padding))

    def reduce(self, channels: int, stride: int) -> "Stack":
        """Append TF-Slim's `factorized_reduction`: to `channels`, and with stride 2 to half the size."""
        if stride == 1:
            return self.conv("path_conv", channels).batch_norm("path_bn")
        if channels < 2:
            raise SpecError("halving a map needs at least 2 filters; use more filters")
        output = Shape(-(-self.shape.height // 2), -(-self.shape.width // 2), channels)
        self._add(FactorizedReduction(self.shape, output, self._prefix.rstrip("/")))
        return self.batch_norm("final_path_bn")

    def dense(self, name: str, channels: int) -> "Stack":
        """Append a fully connected layer."""
        return self._add(Dense(self.shape, Shape(1, 1, channels), self._prefix + name))

    def done(self) -> tuple[Layer, ...]:
        """Return the layers."""
        return tuple(self.layers)
