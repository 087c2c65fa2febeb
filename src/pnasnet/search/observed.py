"""The interface of predictors of accuracy, and the data to which they are fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .space import Tokens

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Observed:
    """Cells with equal numbers of blocks, and their accuracies.

    Attributes:
        tokens: uint8 [N, blocks, 4], as returned by `SearchSpace.tokens`.
        accuracies: float32 [N], in [0, 1].
    """

    tokens: Tokens
    accuracies: Floats


class Predictor(Protocol):
    """Predicts the accuracy of cells from the accuracies of other cells."""

    def fit(self, observed: Sequence[Observed]) -> None:
        """Fit from scratch to cells; each element has cells with another number of blocks."""
        ...

    def predict(self, tokens: Tokens) -> Floats:
        """Return the predicted accuracies, float32 [N], of cells [N, blocks, 4]. `blocks` may be a new number."""
        ...
