"""Convert other names and layouts to the canonical form: TF-Slim's names, TensorFlow's layout.

Three kinds of names are recognised: TF-Slim's; those of timm's and Cadene's networks; and those of this package's torch
network, as in `module.network.state_dict()`. The prefix that wrappers such as DataParallel and torch.compile put before
every name is dropped.
"""

import logging
import re
from collections.abc import Iterable, Mapping

import numpy as np

from ..architecture.torch_names import axes_from_torch, variable_leaf
from ..errors import WeightsError
from . import timm
from .arrays import ArrayShape, LazyArrays

log = logging.getLogger(__name__)

_EMA = "/ExponentialMovingAverage"
_RENAMED = re.compile(r"(?<=^final_layer/)fully_connected(?=/)|(?<=/aux_logits/)fully_connected(?=/)")
"""TF-Slim's name of dense layers since 24 November 2017. Before that, and in this package, it is `FC`."""

_OWN = re.compile(r"(?:reduction_)?cell(?:_stem)?_\d+\.comb_iter_\d+\.(?:left|right)\.|final_layer\.FC\.")
_NOT_VARIABLES = ("num_batches_tracked", "drop_path_progress")
"""Buffers that only training uses: batch normalization's number of updates, and the progress of path dropout."""


def to_canonical(arrays: LazyArrays, origin: str) -> tuple[LazyArrays, str]:
    """Return the arrays in the canonical form, and the kind of their names: `timm`, `network`, or empty for TF-Slim's.

    Unknown names stay as they are, so that the check against the network reports them. Raises `WeightsError` if two
    tensors have the same name.
    """
    plain = _without_prefix(arrays)
    if _is_own(plain.shapes):
        return _in_tensorflows_layout(plain, _own_names(plain.shapes)), "network"
    if timm.looks_like_timm(plain.shapes):
        return _in_tensorflows_layout(plain, timm.slim_names(plain.shapes)), "timm"
    names: dict[str, str] = {}
    for name in arrays.shapes:
        new = _RENAMED.sub("FC", name)
        if new in names:
            raise WeightsError(f"{origin} holds both {names[new]} and {name}: remove one of them")
        names[new] = name
    return arrays.renamed(names), ""


def choose_averages(arrays: LazyArrays, wanted: bool | None, origin: str) -> LazyArrays:
    """Return the variables by their plain names: their moving averages, or their values at the last training step.

    Args:
        arrays: variables, moving averages (`NAME/ExponentialMovingAverage`), or both.
        wanted: True for the averages, False for the last values; None for the averages if there are any, because
            TF-Slim evaluates with them. A variable that has no average is used as it is.
        origin: name of the weights in messages.

    Raises `WeightsError` if `wanted` asks for values that the weights lack.
    """
    averaged = {name.removesuffix(_EMA): name for name in arrays if name.endswith(_EMA)}
    plain = {name: name for name in arrays if not name.endswith(_EMA)}
    if not averaged:
        if wanted:
            raise WeightsError(f"{origin} holds no moving averages: leave out moving_averages=True")
        return arrays
    if wanted is False:
        if alone := averaged.keys() - plain.keys():
            raise WeightsError(
                f"{origin} holds only the moving averages of {len(alone)} variables: leave out moving_averages=False"
            )
        log.info("%s: the variables are used, not their moving averages", origin)
        return arrays.renamed(plain)
    both = len(averaged.keys() & plain.keys())
    hint = "; moving_averages=False uses the variables" if both else ""
    log.info("%s: the moving averages of %d variables are used%s", origin, len(averaged), hint)
    return arrays.renamed(plain | averaged)


def _without_prefix(arrays: LazyArrays) -> LazyArrays:
    """Drop the prefix that all names share, such as `module.` or `model._orig_mod.`, until the names are known."""
    while len(arrays) > 1 and not timm.looks_like_timm(arrays.shapes) and not _is_own(arrays.shapes):
        first = {name.partition(".")[0] for name in arrays.shapes}
        if len(first) > 1 or any("." not in name for name in arrays.shapes):
            break
        prefix = f"{first.pop()}."
        arrays = arrays.renamed({name.removeprefix(prefix): name for name in arrays.shapes})
    return arrays


def _is_own(shapes: Iterable[str]) -> bool:
    return any(_OWN.match(name) for name in shapes)


def _own_names(shapes: Mapping[str, ArrayShape]) -> dict[str, str]:
    """Map TF-Slim's names to those in a state dict of `lowering.torch_network.Network`."""
    names = {}
    for old in shapes:
        scope, _, leaf = old.rpartition(".")
        if leaf in _NOT_VARIABLES:
            continue
        if scope.endswith((".depthwise", ".pointwise")):
            scope, _, kind = scope.rpartition(".")
            leaf = f"{kind}.{leaf}"
        new = variable_leaf(leaf, batch_norm=f"{scope}.running_mean" in shapes)
        names[f"{scope.replace('.', '/')}/{new}" if new else old] = old
    return names


def _in_tensorflows_layout(arrays: LazyArrays, names: Mapping[str, str]) -> LazyArrays:
    renamed = arrays.renamed(names)
    axes = {name: axes_from_torch(name, len(shape)) for name, shape in renamed.shapes.items()}
    shapes = {name: tuple(shape[axis] for axis in axes[name]) for name, shape in renamed.shapes.items()}
    return LazyArrays(shapes, lambda name: np.ascontiguousarray(renamed[name].transpose(axes[name])))
