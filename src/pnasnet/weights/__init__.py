"""Reads weights of all supported formats without TensorFlow, checks them against a network, and writes our own format.

Example:
    >>> from pnasnet import Module
    >>> from pnasnet.module.open import metadata
    >>> from pnasnet.weights import AUXILIARY_HEAD, CLASSIFIER, check_weights, open_weights, write_weights
    >>> model = Module("pnasnet_tiny").model
    >>> write_weights("copy.safetensors", model.arrays(), **metadata(model))
    >>> with open_weights("copy.safetensors") as weights:
    ...     names = check_weights(weights.arrays.shapes, model.plan.variables(), origin="copy.safetensors")
    >>> [name for name in names if name.startswith((AUXILIARY_HEAD, CLASSIFIER))]
    ['final_layer/FC/weights', 'final_layer/FC/biases']
"""

from .arrays import LazyArrays
from .check import AUXILIARY_HEAD, CLASSIFIER, check_weights
from .native import write_weights
from .open import open_weights
from .saved_model import HubModuleInfo, Signature
from .source import WeightsSource

__all__ = [
    "AUXILIARY_HEAD",
    "CLASSIFIER",
    "HubModuleInfo",
    "LazyArrays",
    "Signature",
    "WeightsSource",
    "check_weights",
    "open_weights",
    "write_weights",
]
