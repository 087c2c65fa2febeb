"""What differs if a module is a quantized model: its precision, and a watch over the range of its features."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..engines import EngineOptions
from ..errors import InputError
from ..weights.quantized import CalibratedRange
from .open import Model

log = logging.getLogger(__name__)

_FEATURES = "global_pool"
_DERIVED = ("Logits", "Predictions")
"""Endpoints that are computed from the features, so that the features cost nothing beside them."""
_FACTOR, _TOLERANCE = 2.0, 0.01
"""Features leave the range if their share outside is beyond this multiple of the held-out images', and this more."""


def fit_precision(options: EngineOptions, model: Model) -> EngineOptions:
    """Return the options with the precision that the model runs in. Raises `InputError` if another was chosen."""
    if model.quantized is None:
        if options.precision == "int8":
            raise InputError(
                f"{model.name} is not quantized: make an int8 model with pnasnet quantize, and name its folder"
            )
        return replace(options, precision=options.precision or "float32")
    if options.precision not in (None, "int8"):
        raise InputError(
            f"precision {options.precision}: {model.origin} is quantized and runs in int8; leave the precision out"
        )
    return replace(options, precision="int8")


class RangeWatch:
    """Warns once if features leave the range that a quantized model was calibrated for."""

    def __init__(self, name: str, calibrated: CalibratedRange) -> None:
        self._name, self._calibrated, self._told = name, calibrated, False

    def added_to(self, endpoints: Sequence[str]) -> Sequence[str]:
        """Return the endpoints to compute so that the features can be checked, if they are among what is needed."""
        return (*endpoints, _FEATURES) if set(_DERIVED).intersection(endpoints) else endpoints

    def check(self, outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Check a batch's features; log a warning the first time that they are outside."""
        features = outputs.get(_FEATURES)
        if self._told or features is None or not len(features):
            return
        share = self._calibrated.share_outside(features)
        if share > _FACTOR * self._calibrated.share + _TOLERANCE:
            self._told = True
            log.warning(
                "%s: %.1f %% of the features are beyond their range in calibration (at most %.1f %% then): these "
                "images are of another kind, and int8 may be inexact on them; quantize with images like these",
                self._name, 100 * share, 100 * self._calibrated.share,
            )  # fmt: skip
