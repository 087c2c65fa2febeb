"""Reads weights of every origin without TensorFlow, checks them against a network, and writes this project's own."""

from .arrays import LazyArrays
from .check import AUXILIARY_HEAD, CLASSIFIER, check_weights
from .native import write_weights
from .open import open_weights
from .quantized import QuantizedGraph, QuantizedWeights
from .saved_model import HubModuleInfo, Signature
from .source import WeightsSource

__all__ = [
    "AUXILIARY_HEAD",
    "CLASSIFIER",
    "HubModuleInfo",
    "LazyArrays",
    "QuantizedGraph",
    "QuantizedWeights",
    "Signature",
    "WeightsSource",
    "check_weights",
    "open_weights",
    "write_weights",
]
