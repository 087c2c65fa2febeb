"""Lowers a plan to layers of Keras 3, on any backend, up to the map before the last pooling.

Asymmetric paddings are explicit, because backends interpret `same` differently.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from ..architecture.layers import (
    BatchNorm,
    Conv,
    FactorizedReduction,
    Layer,
    Padding,
    Pool,
    Relu,
    SeparableConv,
)
from ..architecture.plan import Branch, CellPlan, Plan

KerasTensor = Any
"""A symbolic tensor of Keras."""

_PACKAGE = "pnasnet"
_CHANNELS = "channels_last"


@keras.saving.register_keras_serializable(package=_PACKAGE)
class PaddedPool(layers.Layer):  # type: ignore[misc] # Keras has no types
    """Max or average pooling of [batch, height, width, channels] that ignores padding.

    Args:
        kind: `max` or `avg`.
        kernel: height and width of the window.
        stride: of the window.
        padding: rows and columns to add: top, bottom, left, right.
        options: options of every Keras layer.
    """

    def __init__(self, kind: str, kernel: int, stride: int, padding: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.kind, self.kernel, self.stride, self.padding = kind, kernel, stride, tuple(padding)

    def call(self, x: KerasTensor) -> KerasTensor:
        """Pool."""
        window = {"pool_size": self.kernel, "strides": self.stride, "padding": "valid", "data_format": _CHANNELS}
        if self.kind == "max":
            # Values may be negative: only minus infinity is never the maximum.
            return ops.max_pool(self._padded(x, -float("inf")), **window)
        inside = ops.average_pool(self._padded(ops.ones_like(x[:1, :, :, :1]), 0.0), **window)
        return ops.average_pool(self._padded(x, 0.0), **window) / inside

    def _padded(self, x: KerasTensor, value: float) -> KerasTensor:
        top, bottom, left, right = self.padding
        return ops.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=value)

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of the result."""
        top, bottom, left, right = self.padding
        sizes = zip(shape[1:3], (top + bottom, left + right), strict=True)
        window = (None if n is None else (n + more - self.kernel) // self.stride + 1 for n, more in sizes)
        return (shape[0], *window, shape[3])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"kind": self.kind, "kernel": self.kernel, "stride": self.stride, "padding": self.padding}
        return {**super().get_config(), **own}


class Builder:
    """Lowers plans to layers, and remembers the variables of each layer.

    Args:
        momentum: share of the old value in each update of a moving average.
    """

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum
        self._shared: dict[tuple[int, Layer], KerasTensor] = {}
        self.variables: list[tuple[layers.Layer, tuple[str, ...]]] = []
        """Each layer with weights, and the names of its variables in the order of `layer.get_weights()`."""

    def features(self, plan: Plan, images: KerasTensor) -> KerasTensor:
        """Return the last map, [batch, height, width, channels] after its ReLU, of images in [-1, 1]."""
        states = [self._chain(plan.stem, images)]
        for cell in plan.cells:
            states.append(self._cell(cell, states[-1], states[-cell.lookback]))
        return layers.ReLU(name="last_relu")(states[-1])

    def load(self, weights: Mapping[str, Any]) -> None:
        """Set the weights of all layers: variables by TF-Slim's names in TensorFlow's layout, which is Keras's."""
        for layer, names in self.variables:
            layer.set_weights([weights[name] for name in names])

    def _cell(self, cell: CellPlan, current: KerasTensor, previous: KerasTensor) -> KerasTensor:
        states = [self._chain(cell.entry[0], current), self._chain(cell.entry[1], previous)]
        for block in cell.blocks:
            sides = (("left", block.left), ("right", block.right))
            branches = [
                self._branch(branch, states, cell.keep_probability, f"{block.scope}/{side}") for side, branch in sides
            ]
            states.append(layers.Add(name=_name(block.scope))(branches))
        kept = [self._chain(branch.layers, states[branch.source]) for branch in cell.concat]
        return layers.Concatenate(name=_name(cell.scope))(kept) if len(kept) > 1 else kept[0]

    def _branch(self, branch: Branch, states: Sequence[KerasTensor], keep: float, scope: str) -> KerasTensor:
        result = self._chain(branch.layers, states[branch.source])
        if not branch.drop_path or keep >= 1:
            return result
        return layers.Dropout(1 - keep, noise_shape=(None, 1, 1, 1), name=_name(f"{scope}/drop_path"))(result)

    def _chain(self, chain: Sequence[Layer], x: KerasTensor) -> KerasTensor:
        for layer in chain:
            key = (id(x), layer)
            # Equal layers without variables on the same map are computed once.
            if layer.variables() or key not in self._shared:
                self._shared[key] = self._layer(layer, x)
            x = self._shared[key]
        return x

    def _layer(self, layer: Layer, x: KerasTensor) -> KerasTensor:
        match layer:
            case Relu():
                return layers.ReLU()(x)
            case Pool():
                return PaddedPool(layer.kind, layer.kernel, layer.stride, layer.padding)(x)
            case Conv():
                return self._convolution(layer, x)
            case SeparableConv():
                x, padding = _padded(layer, x)
                built = layers.SeparableConv2D(
                    layer.output.channels, layer.kernel, layer.stride, padding, data_format=_CHANNELS, use_bias=False,
                    name=_name(layer.scope),
                )  # fmt: skip
                return self._add(built, x, layer)
            case BatchNorm():
                built = layers.BatchNormalization(
                    momentum=self._momentum, epsilon=layer.epsilon, name=_name(layer.scope)
                )
                return self._add(built, x, layer)
            case FactorizedReduction():
                moved = layers.ZeroPadding2D(((0, 1), (0, 1)), data_format=_CHANNELS)(x)
                moved = layers.Cropping2D(((1, 0), (1, 0)), data_format=_CHANNELS)(moved)
                paths = [
                    self._conv(f"{layer.scope}/path{number}_conv", width, (1, 1), 2, path, "valid")
                    for number, width, path in zip((1, 2), layer.widths, (x, moved), strict=True)
                ]
                return layers.Concatenate(name=_name(f"{layer.scope}/paths"))(paths)
        raise TypeError(f"no lowering for {type(layer).__name__}")

    def _convolution(self, layer: Conv, x: KerasTensor) -> KerasTensor:
        x, padding = _padded(layer, x)
        # Keras has no convolution with a stride and a dilation: all pixels are computed, and then skipped.
        skips = layer.stride > 1 and layer.dilation > 1
        options = {"dilation_rate": layer.dilation} if layer.dilation > 1 else {}
        x = self._conv(
            layer.scope, layer.output.channels, layer.kernel, 1 if skips else layer.stride, x, padding, **options
        )
        return PaddedPool("max", 1, layer.stride, Padding())(x) if skips else x

    def _conv(
        self, scope: str, width: int, kernel: tuple[int, int], stride: int, x: KerasTensor, padding: str, **options: Any
    ) -> KerasTensor:
        built = layers.Conv2D(
            width, kernel, stride, padding, data_format=_CHANNELS, use_bias=False, name=_name(scope), **options
        )
        result = built(x)
        self.variables.append((built, (f"{scope}/weights",)))
        return result

    def _add(self, built: layers.Layer, x: KerasTensor, layer: Layer) -> KerasTensor:
        result = built(x)
        self.variables.append((built, tuple(layer.variables())))
        return result


def _padded(layer: Conv | SeparableConv, x: KerasTensor) -> tuple[KerasTensor, str]:
    """Return the input of a convolution, padded if needed, and the padding that remains for Keras."""
    top, bottom, left, right = layer.padding
    if layer.padding == Padding():
        return x, "valid"
    if (top, left, layer.stride) == (bottom, right, 1):
        return x, "same"
    return layers.ZeroPadding2D(((top, bottom), (left, right)), data_format=_CHANNELS)(x), "valid"


def _name(scope: str) -> str:
    """Return a variable scope as the name of a layer, in which Keras forbids slashes."""
    return scope.replace("/", "-")
