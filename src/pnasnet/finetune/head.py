"""A linear classifier on features. Its regularization is chosen by the validation images."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, MissingExtraError
from ..support.progress import Progress, silent
from ..weights import CLASSIFIER

Floats = NDArray[np.float32]

STRENGTHS = tuple(10.0**power for power in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4, -5))
"""Factors of the L2 term, the strongest first; they apply to standardized features."""

_ITERATIONS = 200
"""Maximum number of iterations for each strength."""
_PATIENCE = 2
"""The search stops after this many strengths in a row without a better one."""


@dataclass(frozen=True)
class Labelled:
    """Features [N, F] float32 with their classes [N] int64."""

    features: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """The losses and the top-1 of one strength of regularization."""

    strength: float
    iterations: int
    training_loss: float
    validation_loss: float
    validation_top1: float


@dataclass(frozen=True)
class Head:
    """A classifier: logits = features @ weights + biases.

    Attributes:
        weights: [F, classes] float32.
        biases: [classes] float32.
        chosen: the trial with the lowest validation loss.
        trials: all trials, in order.
    """

    weights: Floats
    biases: Floats
    chosen: Trial
    trials: list[Trial] = field(default_factory=list)

    def variables(self) -> dict[str, Floats]:
        """Return the classifier's variables by TF-Slim's names."""
        return {f"{CLASSIFIER}FC/weights": self.weights, f"{CLASSIFIER}FC/biases": self.biases}

    def logits(self, features: Floats) -> Floats:
        """Return the logits [N, classes] of features [N, F]."""
        return features @ self.weights + self.biases


def check_packages() -> None:
    """Raise `MissingExtraError` without scikit-learn. Called before features are computed, which may take hours."""
    try:
        import sklearn.linear_model  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("scikit-learn", "finetune", "fine-tuning") from error


def class_weights(labels: NDArray[np.int64], classes: int) -> Floats:
    """Return weights of images by class, [classes], for equal totals of all classes; the mean over images is 1."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)


def train_head(
    training: Labelled, validation: Labelled, classes: int, *, balanced: bool = False, progress: Progress = silent
) -> Head:
    """Fit multinomial logistic regression, and choose its L2 strength by the loss on the validation images.

    Strengths are tried from strong to weak, each starting from the solution of the previous one (a regularization
    path), by scikit-learn's L-BFGS on all training features, without randomness. The path ends after two strengths in
    a row that are worse than the best one.

    Args:
        training: at least one vector of each class.
        validation: the vectors whose loss chooses the strength.
        classes: the number of classes.
        balanced: whether all classes have the same weight, regardless of their numbers of images.
        progress: receives the number of strengths tried.

    Raises:
        InputError: the features are not finite.
        MissingExtraError: scikit-learn is not installed.
    """
    check_packages()
    if not (np.isfinite(training.features).all() and np.isfinite(validation.features).all()):
        raise InputError("the features are not finite: the network's weights or its images are damaged")
    scale = _Standardization.of(training.features)
    path = _RegularizationPath(scale.apply(training.features), training.labels, classes, balanced)
    standardized = scale.apply(validation.features)
    trials: list[Trial] = []
    best: tuple[Trial, Floats, Floats] | None = None
    for strength in STRENGTHS:
        progress("classifier", len(trials), len(STRENGTHS))
        trial = path.fit(strength, standardized, validation.labels)
        trials.append(trial)
        if best is None or trial.validation_loss < best[0].validation_loss:
            best = trial, *path.parameters()
        elif len(trials) - trials.index(best[0]) > _PATIENCE:
            break
    assert best is not None
    chosen, weights, biases = best
    return Head(*scale.fold(weights, biases), chosen, trials)


@dataclass(frozen=True)
class _Standardization:
    """Scales features to mean 0 and deviation 1, and folds that into a classifier of scaled features."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, features: Floats) -> "_Standardization":
        deviation = features.std(0, dtype=np.float64)
        # A constant feature carries no information, and its deviation is a rounding error: do not divide by it.
        constant = deviation <= 1e-6 * np.maximum(np.abs(features).max(0), 1e-6)
        deviation[constant] = np.inf
        return cls(features.mean(0, dtype=np.float64).astype(np.float32), deviation.astype(np.float32))

    def apply(self, features: Floats) -> Floats:
        scaled = features - self.mean
        scaled /= self.deviation
        return scaled

    def fold(self, weights: Floats, biases: Floats) -> tuple[Floats, Floats]:
        weights = weights / self.deviation[:, None]
        return weights, biases - self.mean @ weights


class _RegularizationPath:
    """The regression at decreasing strengths, each fit starting from the previous one."""

    def __init__(self, features: Floats, labels: NDArray[np.int64], classes: int, balanced: bool) -> None:
        from sklearn.linear_model import LogisticRegression

        self._features, self._labels, self._binary = features, labels, classes == 2
        self._class_weights = class_weights(labels, classes) if balanced else np.ones(classes, np.float32)
        weights = dict(enumerate(self._class_weights.tolist())) if balanced else None
        self._model = LogisticRegression(warm_start=True, max_iter=_ITERATIONS, class_weight=weights)

    def fit(self, strength: float, validation: Floats, labels: NDArray[np.int64]) -> Trial:
        """Minimize the mean cross entropy plus strength / 2 * |weights|², and evaluate it on validation images."""
        from sklearn.exceptions import ConvergenceWarning

        # scikit-learn has one row of weights for two classes, equivalent to two opposite rows of half its size.
        own = strength / 2 if self._binary else strength
        self._model.set_params(C=1 / (own * len(self._labels)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the validation loss judges every result
            self._model.fit(self._features, self._labels)
        weights, biases = self.parameters()
        loss, _ = self._measure(self._features @ weights + biases, self._labels)
        validation_loss, top1 = self._measure(validation @ weights + biases, labels)
        return Trial(strength, int(self._model.n_iter_.max()), loss, validation_loss, top1)

    def parameters(self) -> tuple[Floats, Floats]:
        """Return weights [F, classes] and biases [classes] for scaled features."""
        weights, biases = self._model.coef_.T, self._model.intercept_
        if self._binary:
            weights, biases = weights / 2 * [-1, 1], biases / 2 * [-1, 1]
        return weights.astype(np.float32), biases.astype(np.float32)

    def _measure(self, logits: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
        """Return the mean cross entropy, weighted by class, and the accuracy."""
        logits = logits.astype(np.float64)
        highest = logits.max(1)
        losses = highest + np.log(np.exp(logits - highest[:, None]).sum(1)) - logits[np.arange(len(labels)), labels]
        right = logits.argmax(1) == labels
        return float(np.average(losses, weights=self._class_weights[labels])), float(right.mean())
