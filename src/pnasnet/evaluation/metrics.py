"""Computes accuracy, confusion, recall and precision from logits and true classes, with confidence intervals."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Ints = NDArray[np.int64]

Z95 = 1.959963984540054
"""The normal distribution's quantile at 97.5 %: 95 % of values lie within this many deviations of the mean."""


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share, `hits` of `count`; (0, 1) for no images.

    Unlike p ± 1.96 standard deviations, it stays within [0, 1] and is valid for few images and for shares near 0 and 1.
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22 (1927):
    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n).

    Example:
        >>> from pnasnet.evaluation import wilson
        >>> low, high = wilson(9, 10)
        >>> round(low, 3), round(high, 3)
        (0.596, 0.982)
    """
    if not 0 <= hits <= count:
        raise InputError(f"{hits} of {count} is not a share")
    if count == 0:
        return 0.0, 1.0
    share, z2n = hits / count, Z95**2 / count
    centre = share + z2n / 2
    half = Z95 * math.sqrt(share * (1 - share) / count + z2n / (4 * count))
    low, high = (centre - half) / (1 + z2n), (centre + half) / (1 + z2n)
    return max(0.0, min(share, low)), min(1.0, max(share, high))  # the share is in the interval despite rounding


@dataclass(frozen=True)
class Rate:
    """A share of the images.

    Example:
        >>> from pnasnet.evaluation import Rate
        >>> Rate(9, 10).value
        0.9
        >>> low, high = Rate(9, 10).interval
        >>> round(low, 3), round(high, 3), Rate(9, 10).to_dict()["hits"]
        (0.596, 0.982, 9)
    """

    hits: int
    count: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None for no images."""
        return self.hits / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `wilson`."""
        return wilson(self.hits, self.count)

    def to_dict(self) -> dict[str, Any]:
        """Return the rate for JSON."""
        return {"value": self.value, "hits": self.hits, "count": self.count, "interval95": list(self.interval)}


def top_probability(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the softmax of logits [B, C] at the highest class of each row, [B]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    probabilities: NDArray[np.float64] = 1 / np.exp(shifted).sum(axis=1)
    return probabilities


class Tally:
    """Counts right and wrong predictions batch by batch; its size does not depend on the number of images.

    Args:
        classes: number of classes.
        mistakes: maximum number of wrong predictions to keep.

    Attributes:
        classes: the number of classes C.
        confusion: int64 [C, C], number of images by true class (row) and predicted class (column).
        ranks: int64 [C], number of images by the rank of their true class, from rank 1.
        mistakes: (position of the image in the order of `add`, predicted class, its probability) of the wrong
            predictions with the highest probability, highest first.

    Example:
        >>> import numpy as np
        >>> from pnasnet.evaluation import Tally
        >>> tally = Tally(2)
        >>> tally.add(np.array([[2.0, 1.0], [3.0, 0.0]]), np.array([0, 1]))
        >>> tally.confusion
        array([[1, 0],
               [1, 0]])
        >>> tally.count, tally.top(1).value, tally.recall(0).value, tally.precision(0).value
        (2, 0.5, 1.0, 0.5)
        >>> tally.balanced_accuracy(), tally.most_frequent().value, tally.confusions()
        (0.5, 0.5, [(1, 0, 1)])
    """

    def __init__(self, classes: int, *, mistakes: int = 0) -> None:
        if classes < 1:
            raise InputError(f"a classifier has at least one class, not {classes}")
        self.classes = classes
        self.confusion = np.zeros((classes, classes), np.int64)
        self.ranks = np.zeros(classes, np.int64)
        self.mistakes: list[tuple[int, int, float]] = []
        self._most_mistakes = mistakes

    def add(self, logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Count a batch.

        The prediction is the class with the highest logit; among equal logits, the first class ranks highest.

        Args:
            logits: float [B, C].
            labels: int [B], the true classes in [0, C).

        Raises:
            InputError: shapes do not match, labels are not classes, or logits are not finite.
        """
        labels = self._checked(logits, labels)
        own = np.take_along_axis(logits, labels[:, None], axis=1)
        earlier = np.arange(self.classes) < labels[:, None]
        ranks = ((logits > own) | (logits == own) & earlier).sum(axis=1)
        predicted = logits.argmax(axis=1)
        self._keep_mistakes(logits, labels, predicted)
        np.add.at(self.confusion, (labels, predicted), 1)
        self.ranks += np.bincount(ranks, minlength=self.classes)

    def _keep_mistakes(self, logits: NDArray[np.floating[Any]], labels: Ints, predicted: Ints) -> None:
        wrong = np.flatnonzero(predicted != labels)
        probabilities = top_probability(logits[wrong])
        new = zip((self.count + wrong).tolist(), predicted[wrong].tolist(), probabilities.tolist(), strict=True)
        self.mistakes = sorted([*self.mistakes, *new], key=lambda mistake: -mistake[2])[: self._most_mistakes]

    @property
    def count(self) -> int:
        """The number of images."""
        return int(self.ranks.sum())

    def top(self, k: int) -> Rate:
        """Return the share of images whose true class has one of the `k` highest logits."""
        if k < 1:
            raise InputError(f"top-{k} is undefined: k must be at least 1")
        return Rate(int(self.ranks[:k].sum()), self.count)

    def recall(self, label: int) -> Rate:
        """Return the share of the images of a class that were predicted as this class."""
        return Rate(int(self.confusion[label, label]), int(self.confusion[label].sum()))

    def precision(self, label: int) -> Rate:
        """Return the share of the predictions of a class that were right."""
        return Rate(int(self.confusion[label, label]), int(self.confusion[:, label].sum()))

    def balanced_accuracy(self) -> float | None:
        """Return the mean recall of the classes that have images; None without images."""
        images = self.confusion.sum(axis=1)
        present = images > 0
        return float((self.confusion.diagonal()[present] / images[present]).mean()) if present.any() else None

    def most_frequent(self) -> Rate:
        """Return the top-1 accuracy of always predicting the most frequent class, a baseline."""
        return Rate(int(self.confusion.sum(axis=1).max()), self.count)

    def confusions(self) -> list[tuple[int, int, int]]:
        """Return (true class, predicted class, number of images) of all wrong predictions, most frequent first."""
        true, predicted = np.nonzero(self.confusion)
        pairs = [(int(t), int(p), int(self.confusion[t, p])) for t, p in zip(true, predicted, strict=True) if t != p]
        return sorted(pairs, key=lambda pair: -pair[2])  # stable: ties stay in the order of the classes

    def _checked(self, logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> Ints:
        if logits.ndim != 2 or logits.shape[1] != self.classes or labels.shape != logits.shape[:1]:
            raise InputError(
                f"logits must be [B, {self.classes}] and labels [B], not {list(logits.shape)} and {list(labels.shape)}"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"labels must be integers, not {labels.dtype}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
            raise InputError(f"labels from {labels.min()} to {labels.max()} do not match {self.classes} classes")
        if not np.isfinite(logits).all():  # comparisons with NaN are false, so its class would rank highest
            raise InputError("the logits are not finite: the network's weights or its images are damaged")
        return labels.astype(np.int64)
