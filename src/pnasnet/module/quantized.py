"""Quantized modules: their precision, and a warning if features leave the calibrated range."""

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
"""Endpoints that are computed from the features, which therefore cost nothing more."""
_FACTOR, _TOLERANCE = 2.0, 0.01
"""Warn if the share of features above the range exceeds _FACTOR times that of the held-out images plus _TOLERANCE."""


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
        self._name, self._calibrated, self._warned = name, calibrated, False

    def added_to(self, endpoints: Sequence[str]) -> Sequence[str]:
        """Return the endpoints with the features, if these cost nothing more, so that they can be checked."""
        return (*endpoints, _FEATURES) if set(_DERIVED).intersection(endpoints) else endpoints

    def check(self, outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Check a batch's features, and log a warning the first time that they leave the range."""
        features = outputs.get(_FEATURES)
        if self._warned or features is None or not len(features):
            return
        share = self._calibrated.share_outside(features)
        if share > _FACTOR * self._calibrated.share + _TOLERANCE:
            self._warned = True
            log.warning(
                "%s: %.1f %% of the features are beyond their range in calibration (at most %.1f %% then): these "
                "images are of another kind, and int8 may be inexact on them; quantize with images like these",
                self._name, 100 * share, 100 * self._calibrated.share,
            )  # fmt: skip
