"""TF-Slim's variables as torch's parameters: their names in a state dict, and their layouts."""

import numpy as np

_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_OTHER = {
    "weights": "weight",
    "biases": "bias",
    "depthwise_weights": "depthwise.weight",
    "pointwise_weights": "pointwise.weight",
}
_IN_TORCH = _BATCH_NORM | _OTHER


def parameter_name(variable: str) -> str:
    """Return the state-dict key of a TF-Slim variable."""
    *scope, leaf = variable.split("/")
    return ".".join([*scope, _IN_TORCH[leaf]])


def variable_leaf(parameter_leaf: str, *, batch_norm: bool) -> str | None:
    """Return the last part of the name of a parameter's variable; None if the parameter is unknown."""
    leaves = _BATCH_NORM if batch_norm else _OTHER
    return next((leaf for leaf, name in leaves.items() if name == parameter_leaf), None)


def axes_from_torch(variable: str, rank: int) -> tuple[int, ...]:
    """Return the transpose from torch's layout to TensorFlow's."""
    if rank == 4 and variable.endswith("/depthwise_weights"):
        return (2, 3, 0, 1)  # [channels, 1, height, width] -> [height, width, channels, 1]
    if rank == 4:
        return (2, 3, 1, 0)  # [out, in, height, width] -> [height, width, in, out]
    return tuple(reversed(range(rank)))  # [out, in] -> [in, out]; a vector stays as it is


def to_tensorflow_layout(variable: str, value: np.ndarray) -> np.ndarray:
    """Transpose a variable from torch's layout to TensorFlow's."""
    return value.transpose(axes_from_torch(variable, value.ndim))


def to_torch_layout(variable: str, value: np.ndarray) -> np.ndarray:
    """Transpose a variable from TensorFlow's layout to torch's: the inverse of `to_tensorflow_layout`."""
    return value.transpose(*np.argsort(axes_from_torch(variable, value.ndim)))
