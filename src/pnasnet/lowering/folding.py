"""Folds batch normalization into the convolution before it, for the ONNX graph and the torch network of inference."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import BatchNorm, Conv, FactorizedReduction, Layer, SeparableConv
from ..architecture.plan import Plan

Array = NDArray[Any]
Weights = Mapping[str, Array]
"""TF-Slim's variable names to float arrays in TensorFlow's layout."""


class Folding:
    """The kernels and offsets of a plan without batch normalization. Each is computed when it is used.

    In inference the statistics are constant, so a normalization is a factor and an offset per channel: factor = gamma /
    sqrt(variance + epsilon), offset = beta - mean * factor. The factor is multiplied into the kernel, in float64.
    """

    def __init__(self, plan: Plan, weights: Weights) -> None:
        """Raises `TypeError` if a batch normalization follows no convolution."""
        self._weights = weights
        self._norms: dict[str, tuple[Array, Array]] = {}
        self._after: dict[str, tuple[BatchNorm, slice]] = {}
        for layer, following in pairwise(plan.layers()):
            if isinstance(following, BatchNorm):
                self._after |= {variable: (following, part) for variable, part in _normalized(layer).items()}

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the kernels into which a normalization is folded."""
        return iter(self._after)

    def __contains__(self, variable: str) -> bool:
        return variable in self._after

    def norm(self, variable: str) -> BatchNorm:
        """Return the normalization that is folded into a kernel."""
        return self._after[variable][0]

    def kernel(self, variable: str) -> Array:
        """Return a kernel in TensorFlow's layout: float64 if folded, otherwise unchanged."""
        value = self._weights[variable]
        if variable not in self:
            return value
        norm, part = self._after[variable]
        return value * self._factor_and_offset(norm)[0][part]

    def offset(self, variable: str) -> Array:
        """Return the offset per output channel of a folded kernel, float64."""
        norm, part = self._after[variable]
        return self._factor_and_offset(norm)[1][part]

    def _factor_and_offset(self, norm: BatchNorm) -> tuple[Array, Array]:
        if norm.scope not in self._norms:
            gamma, beta, mean, variance = (self._weights[name].astype(np.float64) for name in norm.variables())
            factor = gamma / np.sqrt(variance + norm.epsilon)
            self._norms[norm.scope] = factor, beta - mean * factor
        return self._norms[norm.scope]


def _normalized(layer: Layer) -> dict[str, slice]:
    """Return the kernels of a layer before a normalization, each with the normalization's channels that it computes."""
    match layer:
        case Conv():
            return {f"{layer.scope}/weights": slice(None)}
        case SeparableConv():
            return {f"{layer.scope}/pointwise_weights": slice(None)}
        case FactorizedReduction():
            first = layer.widths[0]
            names = list(layer.variables())
            return {names[0]: slice(None, first), names[1]: slice(first, None)}
    raise TypeError(f"a batch normalization after {type(layer).__name__} cannot be folded")
