"""The predictors of accuracy by name, and how well one ranks."""

from collections.abc import Sequence

import numpy as np

from ..errors import MissingExtraError, UnknownNameError
from .observed import Floats, Predictor
from .space import SearchSpace

NAMES = ("lstm", "lstm-ensemble", "mlp", "mlp-ensemble", "linear", "random")
"""All predictors: the paper's four, and two baselines."""

ENSEMBLE = 5
"""Members of an ensemble; each is fitted to all cells except a fifth of its own."""


def make_predictor(name: str, space: SearchSpace, seed: int) -> Predictor:
    """Return a new predictor, whose randomness comes from `seed`.

    Raises `UnknownNameError`, and `MissingExtraError` if a package it needs is not installed.
    """
    if name not in NAMES:
        raise UnknownNameError.of("predictor", name, NAMES)
    from . import baselines, neural

    kind, _, ensemble = name.partition("-")
    if kind in ("lstm", "mlp"):
        network = neural.Lstm if kind == "lstm" else neural.Mlp
        return neural.Neural(network, space, ENSEMBLE if ensemble else 1, seed)
    return baselines.Linear(space) if name == "linear" else baselines.Random(seed)


def rank_correlation(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Return Spearman's rank correlation, or NaN if `a` or `b` is constant or has fewer than two values.

    Equal values share the mean of their ranks. Raises `MissingExtraError` without SciPy.
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    try:
        from scipy.stats import spearmanr
    except ImportError as error:
        raise MissingExtraError.of("scipy", "search", "the rank correlation") from error
    return float(spearmanr(a, b).statistic)
