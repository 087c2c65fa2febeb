"""A linear classifier on features: seconds to train, its regularization chosen by the validation pictures."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..weights import CLASSIFIER

Floats = NDArray[np.float32]

STRENGTHS = tuple(10.0**power for power in (1, 0.5, 0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5, -4, -5))
"""Factors of the L2 term that are tried, the strongest first; they apply to standardized features."""

_CHUNK = 10
"""Iterations between two looks at the validation pictures."""
_CHUNKS = 20
"""Looks for each strength, at most."""
_PATIENCE = 2
_LEAST = 1e-6
"""By how much a loss must fall to count as better."""


@dataclass(frozen=True)
class Labelled:
    """Features [N, F] float32 with their classes [N] int64."""

    features: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """What one strength of regularization came to, at its best iteration."""

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
        trials: every strength that was tried, in order.
        chosen: the one that was taken.
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


def class_weights(labels: NDArray[np.int64], classes: int) -> Floats:
    """Return what a picture of each class counts for [classes], so that all classes weigh the same; the mean is 1."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)


def train_head(
    training: Labelled,
    validation: Labelled,
    classes: int,
    *,
    balanced: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Head:
    """Fit multinomial logistic regression, and choose its L2 strength by the loss on the validation pictures.

    Strengths are tried from strong to weak, each from where the one before ended (a regularization path), by L-BFGS on
    all training features, without randomness. Each ends early once the validation loss rises, and the path once two
    strengths in a row were worse.

    Args:
        training: what to fit, at least one vector of each class.
        validation: what to choose by.
        classes: how many there are.
        balanced: whether each class weighs the same, however many pictures it has.
        check: called before each strength; what it raises ends the training.

    Raises:
        InputError: features that are not finite.
    """
    if not (np.isfinite(training.features).all() and np.isfinite(validation.features).all()):
        raise InputError("the features are not finite: the network's weights or its images are damaged")
    scale = _Scale.of(training.features)
    fit = _Fit(scale.apply(training.features), training.labels, classes, balanced)
    seen = scale.apply(validation.features), torch.from_numpy(validation.labels)
    trials: list[Trial] = []
    best: tuple[Trial, Tensor] | None = None
    worse = 0
    for strength in STRENGTHS:
        check()
        trial, parameters = fit.run(strength, *seen)
        trials.append(trial)
        if best is None or trial.validation_loss < best[0].validation_loss:
            best, worse = (trial, parameters), 0
        else:
            worse += 1
            if worse == _PATIENCE:
                break
    assert best is not None
    weights, biases = scale.fold(best[1])
    return Head(weights, biases, best[0], trials)


@dataclass(frozen=True)
class _Scale:
    """Brings features to mean 0 and deviation 1, and takes that into the classifier afterwards."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Floats) -> "_Scale":
        x = torch.from_numpy(features)
        deviation = x.std(0, correction=0)
        # A feature that never changes carries nothing, and dividing by its rounding would blow it up.
        constant = deviation <= 1e-6 * x.abs().amax(0).clamp_min(1e-6)
        return cls(x.mean(0), torch.where(constant, torch.inf, deviation))

    def apply(self, features: Floats) -> Tensor:
        return (torch.from_numpy(features) - self.mean) / self.deviation

    def fold(self, parameters: Tensor) -> tuple[Floats, Floats]:
        weights = parameters[:-1] / self.deviation[:, None]
        biases = parameters[-1] - self.mean @ weights
        return weights.numpy(), biases.numpy()


class _Fit:
    """The regression in progress; its parameters [F + 1, classes] go on from one strength to the next."""

    def __init__(self, features: Tensor, labels: NDArray[np.int64], classes: int, balanced: bool) -> None:
        self._features, self._labels = features, torch.from_numpy(labels)
        self._parameters = torch.zeros(features.shape[1] + 1, classes, requires_grad=True)
        self._class_weights = torch.from_numpy(class_weights(labels, classes)) if balanced else None

    def run(self, strength: float, features: Tensor, labels: Tensor) -> tuple[Trial, Tensor]:
        """Return the best look at the validation pictures, and the parameters at that point."""
        optimizer = torch.optim.LBFGS([self._parameters], max_iter=_CHUNK, line_search_fn="strong_wolfe")

        def objective() -> Tensor:
            optimizer.zero_grad()
            total = self._loss() + strength / 2 * self._parameters[:-1].square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total.detach()

        best, kept, waited, last = None, self._parameters, 0, math.inf
        for chunk in range(1, _CHUNKS + 1):
            value = float(optimizer.step(objective))  # type: ignore[no-untyped-call]
            trial = self._look(strength, chunk * _CHUNK, features, labels)
            if best is None or trial.validation_loss < best.validation_loss - _LEAST:
                best, kept, waited = trial, self._parameters.detach().clone(), 0
            else:
                waited += 1
            if waited == _PATIENCE or last - value < _LEAST:
                break
            last = value
        assert best is not None
        return best, kept

    @torch.no_grad()
    def _look(self, strength: float, iterations: int, features: Tensor, labels: Tensor) -> Trial:
        logits = _logits(self._parameters, features)
        loss = functional.cross_entropy(logits, labels, self._class_weights).item()
        top1 = (logits.argmax(1) == labels).float().mean().item()
        return Trial(strength, iterations, self._loss().item(), loss, top1)

    def _loss(self) -> Tensor:
        return functional.cross_entropy(_logits(self._parameters, self._features), self._labels, self._class_weights)


def _logits(parameters: Tensor, features: Tensor) -> Tensor:
    return features @ parameters[:-1] + parameters[-1]
