"""Predictors of a cell's accuracy: what they are given, how they are named, and how well they rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, UnknownNameError
from .space import SearchSpace, Tokens

Floats = NDArray[np.float32]

NAMES = ("lstm", "lstm-ensemble", "mlp", "mlp-ensemble", "linear", "random")
"""All predictors: the paper's four, and two baselines."""

ENSEMBLE = 5
"""Members of an ensemble, each fitted to all cells but its fifth of them."""


@dataclass(frozen=True)
class Observed:
    """Cells of one number of blocks whose accuracy is known.

    Attributes:
        tokens: [N, blocks, 4] uint8, as `SearchSpace.tokens` gives them.
        accuracies: [N] float32 in [0, 1].
    """

    tokens: Tokens
    accuracies: Floats


class Predictor(Protocol):
    """Predicts accuracies from what was observed."""

    def fit(self, observed: Sequence[Observed]) -> None:
        """Fit from scratch to all that was observed, cells of every number of blocks."""
        ...

    def predict(self, tokens: Tokens) -> Floats:
        """Return the predicted accuracy of cells [N, blocks, 4]; their numbers of blocks may be new. [N] float32."""
        ...


def make_predictor(name: str, space: SearchSpace, seed: int) -> Predictor:
    """Return a predictor by its name; it follows from `seed`.

    Raises `UnknownNameError`, and `MissingExtraError` if what it needs is not installed.
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
    """Return Spearman's rank correlation; NaN where one of the two is the same throughout, or there is but one value.

    Equal values share the mean of their ranks. Raises `MissingExtraError` without SciPy.
    """
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    try:
        from scipy.stats import spearmanr
    except ImportError as error:
        raise MissingExtraError.of("scipy", "search", "the rank correlation") from error
    return float(spearmanr(a, b).statistic)
