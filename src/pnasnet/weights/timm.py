"""Maps the names in timm's and Cadene's `pnasnet5large` and `nasnetalarge` to TF-Slim's, and back to timm's.

Both use the same names of modules, which lack the kernel sizes that TF-Slim's names contain, so the sizes come from
the kernels' shapes. Nothing else depends on the architecture: networks of other depths and widths map as well.
"""

import re
from collections.abc import Iterable, Mapping

from ..architecture.torch_names import variable_leaf
from .arrays import ArrayShape

_CELL = r"(?P<cell>(?:reduction_)?cell(?:_stem)?_\d+)"
_BLOCK = rf"{_CELL}\.(?P<block>comb_iter_\d+)_(?P<side>left|right)"

_MODULES = {
    r"conv_?0\.conv": "conv0",
    r"conv_?0\.bn": "conv0_bn",
    rf"{_CELL}\.conv_1x1\.conv": "{cell}/1x1",
    rf"{_CELL}\.conv_1x1\.bn": "{cell}/beginning_bn",
    rf"{_CELL}\.conv_prev_1x1\.conv": "{cell}/prev_1x1",
    rf"{_CELL}\.conv_prev_1x1\.bn": "{cell}/prev_bn",
    # timm's PNASNet holds the factorized reduction in conv_prev_1x1, its NASNet in the cell itself.
    rf"{_CELL}\.(?:conv_prev_1x1\.)?path_(?P<path>[12])\.conv": "{cell}/path{path}_conv",
    rf"{_CELL}\.(?:conv_prev_1x1\.)?final_path_bn": "{cell}/final_path_bn",
    rf"{_BLOCK}\.separable_(?P<n>\d+)\.(?:depth|point)wise_conv2d": "{cell}/{block}/{side}/separable_{kernel}_{n}",
    rf"{_BLOCK}\.bn_sep_(?P<n>\d+)": "{cell}/{block}/{side}/bn_sep_{kernel}_{n}",
    rf"{_BLOCK}\.conv": "{cell}/{block}/{side}/1x1",
    rf"{_BLOCK}\.bn": "{cell}/{block}/{side}/bn_1",
    r"last_linear": "final_layer/FC",
}
"""Maps the name of a module in timm to the scope of its variables in TF-Slim."""

_BOOKKEEPING = "num_batches_tracked"  # torch's batch normalization counts its updates; inference does not need it


def slim_names(shapes: Mapping[str, ArrayShape]) -> dict[str, str]:
    """Map TF-Slim's names to those of a timm state dict of `shapes`.

    Unknown names stay as they are, so that the check against the network reports them.
    """
    names: dict[str, str] = {}
    for old in shapes:
        if not old.endswith(f".{_BOOKKEEPING}"):
            new = _slim_name(old, shapes) or old
            names[old if new in names else new] = old
    return names


def looks_like_timm(shapes: Mapping[str, ArrayShape]) -> bool:
    """Return whether any of the names is one of timm's or Cadene's."""
    return any(_slim_name(name, shapes) for name in shapes)


def _slim_name(name: str, shapes: Mapping[str, ArrayShape]) -> str | None:
    module, _, leaf = name.rpartition(".")
    matches = ((re.fullmatch(pattern, module), scope) for pattern, scope in _MODULES.items())
    match, scope = next(((match, scope) for match, scope in matches if match), (None, ""))
    if match is None:
        return None
    parts = match.groupdict()
    if "{kernel}" in scope:
        block = f"{parts['cell']}.{parts['block']}_{parts['side']}"
        depthwise = shapes.get(f"{block}.separable_{parts['n']}.depthwise_conv2d.weight", ())
        if len(depthwise) != 4:
            return None
        parts["kernel"] = f"{depthwise[2]}x{depthwise[3]}"
    if module.endswith("_conv2d"):
        leaf = {"weight": f"{module.rpartition('.')[2].removesuffix('_conv2d')}_weights"}.get(leaf, "")
    else:
        leaf = variable_leaf(leaf, batch_norm="bn" in scope) or ""
    return f"{scope.format(**parts)}/{leaf}" if leaf else None


def timm_names(variables: Iterable[str], *, nasnet: bool) -> dict[str, str]:
    """Map the names of timm's `nasnetalarge`, or else `pnasnet5large`, to TF-Slim's `variables`: a full state dict.

    Without `num_batches_tracked`, which torch starts at 0, and without variables that timm's network lacks.
    """
    stem, halving = ("conv0", "") if nasnet else ("conv_0", "conv_prev_1x1.")
    names: dict[str, str] = {}
    for variable in variables:
        scope, _, leaf = variable.rpartition("/")
        for pattern, module in _SCOPES.items():
            if match := re.fullmatch(pattern, scope):
                name = match.expand(module).format(stem=stem, halving=halving)
                names[f"{name}.{_LEAVES[leaf]}"] = variable
                break
    return names


_SCOPES = {
    "conv0": "{stem}.conv",
    "conv0_bn": "{stem}.bn",
    r"([^/]+)/1x1": r"\1.conv_1x1.conv",
    r"([^/]+)/beginning_bn": r"\1.conv_1x1.bn",
    r"([^/]+)/prev_1x1": r"\1.conv_prev_1x1.conv",
    r"([^/]+)/prev_bn": r"\1.conv_prev_1x1.bn",
    r"([^/]+)/path([12])_conv": r"\1.{halving}path_\2.conv",
    r"([^/]+)/final_path_bn": r"\1.{halving}final_path_bn",
    r"([^/]+)/(comb_iter_\d+)/(left|right)/(separable|bn_sep)_\d+x\d+_(\d+)": r"\1.\2_\3.\4_\5",
    r"([^/]+)/(comb_iter_\d+)/(left|right)/1x1": r"\1.\2_\3.conv",
    r"([^/]+)/(comb_iter_\d+)/(left|right)/bn_1": r"\1.\2_\3.bn",
    "final_layer/FC": "last_linear",
}
"""Maps a variable's scope in TF-Slim to the module in timm: the inverse of `_MODULES`, with one spelling each."""

_LEAVES = {
    "weights": "weight",
    "biases": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "depthwise_weights": "depthwise_conv2d.weight",
    "pointwise_weights": "pointwise_conv2d.weight",
}
