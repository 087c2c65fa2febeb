"""The predictors of accuracy by name, and their rank correlation."""

import math
from collections.abc import Sequence

import numpy as np

from ..errors import MissingExtraError, UnknownNameError
from ..support.text import NOTHING
from .observed import Floats, Observed, Predictor
from .space import SearchSpace

NAMES = ("lstm", "lstm-ensemble", "mlp", "mlp-ensemble", "linear", "random")
"""All predictors: the paper's four, and two baselines."""

ENSEMBLE = 5
"""Members of an ensemble; each is fitted to four fifths of the cells."""

PAPERS_RANKS: dict[str, tuple[tuple[float, float], ...]] = {
    "mlp": ((0.938, 0.113), (0.857, 0.450), (0.714, 0.469), (0.641, 0.444)),
    "lstm": ((0.970, 0.198), (0.996, 0.424), (0.693, 0.401), (0.787, 0.413)),
    "mlp-ensemble": ((0.975, 0.164), (0.786, 0.532), (0.634, 0.504), (0.645, 0.468)),
    "lstm-ensemble": ((0.972, 0.164), (0.906, 0.418), (0.801, 0.465), (0.579, 0.424)),
}
"""Rank correlations (fitted, next) by number of blocks, from Liu et al., 2018, table 1: means of 20 trials. Predictors
were fitted to 256 random cells (136 of one block). `next` is on 10,000 random cells with one block more."""


def make_predictor(name: str, space: SearchSpace, seed: int) -> Predictor:
    """Return a new predictor; `seed` decides its randomness.

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
    check_scipy()
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def check_scipy() -> None:
    """Raise `MissingExtraError` without SciPy. Call it before training whose results need SciPy."""
    try:
        import scipy.stats  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("scipy", "search", "the rank correlation") from error


def fit_and_rank(predictor: Predictor, known: Sequence[Observed], *ranked: Observed) -> list[float]:
    """Fit a predictor to known cells; return its rank correlation on each of `ranked`."""
    predictor.fit(known)
    return [rank_correlation(predictor.predict(each.tokens), each.accuracies) for each in ranked]


def rank_text(value: float) -> str:
    """Return a rank correlation as text; NaN as a dash."""
    return NOTHING if math.isnan(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def papers_ranks(name: str, level: int) -> tuple[float, float] | None:
    """Return the paper's rank correlations (fitted, next) of a predictor fitted to cells of `level` blocks."""
    rows = PAPERS_RANKS.get(name, ())
    return rows[level - 1] if level <= len(rows) else None
