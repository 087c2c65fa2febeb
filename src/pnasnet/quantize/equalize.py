"""Equal ranges for the channels between the two halves of each separable convolution.

The depthwise half has no normalization of its own, so the ranges of its channels differ by orders of magnitude, and
int8 has one scale for all of them. Nothing but the pointwise half reads them: dividing the kernel of a channel by a
factor and multiplying the pointwise weights of that channel by it changes nothing in exact arithmetic. This idea is
that of cross-layer equalization (Nagel et al. 2019, https://arxiv.org/abs/1906.04721), here with measured ranges.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import SeparableConv
from ..architecture.plan import Plan

Floats = NDArray[np.float32]

_STRENGTH = 0.75
"""Power of the range that a channel is divided by: 1 equalizes the ranges, at the expense of the pointwise weights."""
_SMALLEST = 0.05
"""Ranges below this share of the largest count as this: what few images show of a rare channel is accidental."""


def depthwise_nodes(plan: Plan) -> dict[str, str]:
    """Return the name of the graph's node of each depthwise convolution, by the layer's scope."""
    scopes = dict.fromkeys(layer.scope for layer in plan.layers() if isinstance(layer, SeparableConv))
    return {scope: f"{scope}/depthwise" for scope in scopes}


def equalized(arrays: Mapping[str, Floats], ranges: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the weights with equal ranges between depthwise and pointwise convolutions.

    Args:
        arrays: the weights, in TensorFlow's layout by TF-Slim's names.
        ranges: the largest absolute value of each channel that the depthwise half computes, [channels], by scope.
    """
    result = dict(arrays)
    for scope, range_ in ranges.items():
        largest = float(range_.max())
        if not largest:
            continue
        factors = np.maximum(range_ / largest, _SMALLEST).astype(np.float64) ** _STRENGTH
        factors /= np.exp(np.log(factors).mean())  # the mean scale of the kernels stays
        scale = factors.astype(np.float32)[None, None, :, None]
        result[f"{scope}/depthwise_weights"] = arrays[f"{scope}/depthwise_weights"] / scale
        result[f"{scope}/pointwise_weights"] = arrays[f"{scope}/pointwise_weights"] * scale
    return result
