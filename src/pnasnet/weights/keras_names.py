"""Maps names of Keras layers to TF-Slim's scopes: those of `keras.applications`' NASNet, and this package's own.

Keras's names lack the kernel sizes that TF-Slim's names contain, so the sizes come from the kernels' shapes. Keras
skips a number among the normal cells: that of the first reduction.
"""

import re
from collections.abc import Collection, Mapping

from .arrays import ArrayShape

LEAVES = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "moving_mean",
    "moving_variance": "moving_variance",
}
"""Maps Keras's names of variables to TF-Slim's."""

_FIXED = {"stem_conv1": "conv0", "stem_bn1": "conv0_bn", "predictions": "final_layer/FC"}
_CELL = r"(?P<cell>stem_[12]|reduce_\d+|\d+)"
_LAYERS = {
    rf"(?:normal|reduction)_conv_1_{_CELL}": "1x1",
    rf"(?:normal|reduction)_bn_1_{_CELL}": "beginning_bn",
    rf"adjust_conv_projection_{_CELL}": "prev_1x1",
    rf"adjust_conv_(?P<path>[12])_{_CELL}": "path{path}_conv",
    rf"adjust_bn_{_CELL}": "{adjusted}",
    rf"separable_conv_(?P<n>[12])_(?P<branch>(?:normal|reduction)_\w+?\d)_{_CELL}": "{block}/separable_{kernel}_{n}",
    rf"separable_conv_(?P<n>[12])_bn_(?P<branch>(?:normal|reduction)_\w+?\d)_{_CELL}": "{block}/bn_sep_{kernel}_{n}",
}
"""Maps the name of a layer in `keras.applications` to the scope of its variables within the cell in TF-Slim."""

_BLOCKS = {
    "normal_left1": "comb_iter_0/left",
    "normal_right1": "comb_iter_0/right",
    "normal_left2": "comb_iter_1/left",
    "normal_right2": "comb_iter_1/right",
    "normal_left5": "comb_iter_4/left",
    "reduction_left1": "comb_iter_0/left",
    "reduction_right1": "comb_iter_0/right",
    "reduction_right2": "comb_iter_1/right",
    "reduction_right3": "comb_iter_2/right",
    "reduction_left4": "comb_iter_4/left",
}
_OWN = re.compile(r"(?:reduction_)?cell(?:_stem)?_\d+-.+|conv0(?:_bn)?")


def is_known(layer: str) -> bool:
    """Return whether `keras.applications`' NASNet or this package has a layer of this name."""
    return layer in _FIXED or bool(_OWN.fullmatch(layer)) or any(re.fullmatch(each, layer) for each in _LAYERS)


def scopes(depthwise: Mapping[str, ArrayShape], layers: Collection[str]) -> dict[str, str]:
    """Map the names of layers to TF-Slim's scopes; an unknown name stays as it is.

    Args:
        depthwise: the shape of each depthwise kernel, by layer.
        layers: the names of all layers with variables.
    """
    reductions = sorted({int(name) for layer in layers for name in re.findall(r"_reduce_(\d+)$", layer)})
    return {layer: _scope(layer, depthwise, layers, reductions) or layer for layer in layers}


def _scope(
    layer: str, depthwise: Mapping[str, ArrayShape], layers: Collection[str], reductions: list[int]
) -> str | None:
    if layer in _FIXED:
        return _FIXED[layer]
    if _OWN.fullmatch(layer):
        return layer.replace("-", "/")
    matches = ((re.fullmatch(pattern, layer), scope) for pattern, scope in _LAYERS.items())
    match, scope = next(((match, scope) for match, scope in matches if match), (None, ""))
    if match is None:
        return None
    parts = match.groupdict()
    cell = parts["cell"]
    parts["adjusted"] = "final_path_bn" if f"adjust_conv_1_{cell}" in layers else "prev_bn"
    if "branch" in parts:
        height, width = depthwise.get(f"separable_conv_{parts['n']}_{parts['branch']}_{cell}", (0, 0))[:2]
        parts |= {"kernel": f"{height}x{width}", "block": _BLOCKS.get(parts["branch"], parts["branch"])}
    return f"{_cell(cell, reductions)}/{scope.format(**parts)}"


def _cell(name: str, reductions: list[int]) -> str:
    """Return TF-Slim's name of a cell. Keras skips a number among the normal cells after its first reduction."""
    kind, _, number = name.rpartition("_")
    if kind == "stem":
        return f"cell_stem_{int(number) - 1}"
    if kind == "reduce":
        return f"reduction_cell_{reductions.index(int(number))}"
    return f"cell_{int(number) - any(before < int(number) for before in reductions[:1])}"
