"""Baselines for the predictors of the paper."""

from collections.abc import Sequence

import numpy as np

from ..errors import MissingExtraError
from .observed import Floats, Observed
from .space import SearchSpace, Tokens


class Random:
    """Predicts random numbers in [0, 1)."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def fit(self, observed: Sequence[Observed]) -> None:
        """Do nothing."""

    def predict(self, tokens: Tokens) -> Floats:
        """Return random numbers, [N]."""
        return self._rng.random(len(tokens), np.float32)


class Linear:
    """Ridge regression (alpha 1) on standardized `counts`. Raises `MissingExtraError` without scikit-learn."""

    def __init__(self, space: SearchSpace) -> None:
        try:
            from sklearn.linear_model import Ridge
            from sklearn.pipeline import make_pipeline
            from sklearn.preprocessing import StandardScaler
        except ImportError as error:
            raise MissingExtraError.of("scikit-learn", "search", "the predictor 'linear'") from error
        self._space = space
        self._model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))

    def fit(self, observed: Sequence[Observed]) -> None:
        """Fit to all cells."""
        features = np.concatenate([counts(each.tokens, self._space) for each in observed])
        self._model.fit(features, np.concatenate([each.accuracies for each in observed]))

    def predict(self, tokens: Tokens) -> Floats:
        """Return the predicted accuracies, [N]."""
        return np.asarray(self._model.predict(counts(tokens, self._space)), np.float32)


def counts(tokens: Tokens, space: SearchSpace) -> Floats:
    """Return counts that describe each cell, float32 [N, operations + 5].

    These are, in order: uses of each operation; reads of the current input, of the previous input, and of other blocks;
    concatenated states; and blocks on the longest path.
    """
    operations = (tokens[:, :, 2:, None] == np.arange(len(space.operations))).sum(axis=(1, 2))
    inputs = tokens[:, :, :2]
    read = [(inputs == 0).sum(axis=(1, 2)), (inputs == 1).sum(axis=(1, 2)), (inputs > 1).sum(axis=(1, 2))]
    blocks = tokens.shape[1]
    unread = [~(inputs == 2 + index).any(axis=(1, 2)) for index in range(blocks)]
    depth = np.zeros((len(tokens), 2 + blocks), np.int64)
    for index in range(blocks):
        depth[:, 2 + index] = 1 + np.take_along_axis(depth, inputs[:, index].astype(np.intp), axis=1).max(axis=1)
    rest = np.stack([*read, np.sum(unread, axis=0), depth.max(axis=1)], axis=1)
    return np.concatenate([operations, rest], axis=1).astype(np.float32)
