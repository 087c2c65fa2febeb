"""TF-Slim's variables as torch's parameters: their names in a state dict, and their layouts."""

import numpy as np

_LEAVES = {
    "weights": "weight",
    "biases": "bias",
    "depthwise_weights": "depthwise.weight",
    "pointwise_weights": "pointwise.weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def parameter_name(variable: str) -> str:
    """Return the state-dict key of a TF-Slim variable."""
    *scope, leaf = variable.split("/")
    return ".".join([*scope, _LEAVES[leaf]])


def to_torch_layout(variable: str, value: np.ndarray) -> np.ndarray:
    """Transpose a variable from TensorFlow's layout to torch's."""
    if variable.endswith("/depthwise_weights"):
        return value.transpose(2, 3, 0, 1)  # [H, W, channels, 1] -> [channels, 1, H, W]
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)  # [H, W, in, out] -> [out, in, H, W]
    return value.T  # [in, out] -> [out, in]; a vector stays as it is


def to_tensorflow_layout(variable: str, value: np.ndarray) -> np.ndarray:
    """Transpose a variable from torch's layout to TensorFlow's: the inverse of `to_torch_layout`."""
    if variable.endswith("/depthwise_weights"):
        return value.transpose(2, 3, 0, 1)
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T
