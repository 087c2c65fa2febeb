"""Equalizes the ranges of the channels between the two halves of each separable convolution.

No normalization follows the depthwise half, so the ranges of its channels differ by orders of magnitude, but int8 has
one scale for all. Only the pointwise half reads these channels: dividing a channel's kernel by a factor, and
multiplying its pointwise weights by it, changes nothing in exact arithmetic. This is cross-layer equalization (Nagel et
al., 2019, https://arxiv.org/abs/1906.04721) with measured ranges.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import SeparableConv
from ..architecture.plan import Plan

Floats = NDArray[np.float32]

_STRENGTH = 0.75
"""Exponent of the range by which a channel is divided. 1 would equalize the ranges, but widen the pointwise weights."""
_SMALLEST = 0.05
"""Least range, as a share of the largest: the measured range of a rarely active channel is accidental."""


def depthwise_nodes(plan: Plan) -> dict[str, str]:
    """Return the name of the graph's node for each depthwise convolution, by the layer's scope."""
    scopes = dict.fromkeys(layer.scope for layer in plan.layers() if isinstance(layer, SeparableConv))
    return {scope: f"{scope}/depthwise" for scope in scopes}


def equalized(arrays: Mapping[str, Floats], ranges: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return weights whose depthwise convolutions have channels with more equal ranges.

    Args:
        arrays: the weights, in TensorFlow's layout by TF-Slim's names.
        ranges: the largest absolute value of each channel that the depthwise half computes, float32 [channels], by
            scope.
    """
    result = dict(arrays)
    for scope, range_ in ranges.items():
        largest = float(range_.max())
        if not largest:
            continue
        factors = np.maximum(range_ / largest, _SMALLEST).astype(np.float64) ** _STRENGTH
        factors /= np.exp(np.log(factors).mean())  # keeps the geometric mean of the kernels' scales
        scale = factors.astype(np.float32)[None, None, :, None]
        result[f"{scope}/depthwise_weights"] = arrays[f"{scope}/depthwise_weights"] / scale
        result[f"{scope}/pointwise_weights"] = arrays[f"{scope}/pointwise_weights"] * scale
    return result
