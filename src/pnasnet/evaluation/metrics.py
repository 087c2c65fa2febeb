"""From scores and true classes to figures: accuracy, confusion, recall and precision, and how sure they are.

A `Tally` is fed a batch at a time and keeps counts, so that the number of pictures does not matter.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Ints = NDArray[np.int64]

Z95 = 1.959963984540054
"""The normal distribution's quantile at 97.5 %: 95 % lie within so many deviations."""


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share, `hits` of `count`; (0, 1) of nothing.

    Unlike the usual p ± 1.96 deviations it stays within [0, 1] and holds for few pictures and for shares near 0 and 1.
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22 (1927):
    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n).
    """
    if not 0 <= hits <= count:
        raise InputError(f"{hits} of {count} is no share")
    if count == 0:
        return 0.0, 1.0
    share, z2n = hits / count, Z95**2 / count
    centre = share + z2n / 2
    half = Z95 * math.sqrt(share * (1 - share) / count + z2n / (4 * count))
    low, high = (centre - half) / (1 + z2n), (centre + half) / (1 + z2n)
    return max(0.0, min(share, low)), min(1.0, max(share, high))  # they are so but for rounding


@dataclass(frozen=True)
class Rate:
    """A share of a number of pictures."""

    hits: int
    count: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1]; None of nothing."""
        return self.hits / self.count if self.count else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `wilson`."""
        return wilson(self.hits, self.count)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"value": self.value, "hits": self.hits, "count": self.count, "interval95": list(self.interval)}


@dataclass(frozen=True)
class Judged:
    """What became of each of N pictures.

    Attributes:
        true: int64 [N], its class.
        predicted: int64 [N], the class with the highest score, the first of them where several have it.
        probability: float32 [N], what the network gave the predicted class.
        rank: int64 [N], the true class's place by score, 1 for the highest; of equal scores the first class is ahead.
    """

    true: Ints
    predicted: Ints
    probability: NDArray[np.float32]
    rank: Ints

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.true)


def confident_mistakes(judged: Judged, most: int) -> Ints:
    """Return the indices of up to `most` pictures that were taken for another class, the surest mistakes first."""
    wrong = np.flatnonzero(judged.predicted != judged.true)
    order = np.argsort(-judged.probability[wrong], kind="stable")
    return wrong[order[:most]].astype(np.int64)


class Tally:
    """Counts of right and wrong predictions.

    Attributes:
        classes: the number of classes C.
        confusion: int64 [C, C], the pictures by true class (row) and predicted class (column).
        ranks: int64 [C], the pictures by the rank of their true class, from rank 1 on.
    """

    def __init__(self, classes: int, *, logits: bool = True, keep: bool = False) -> None:
        """Start with no picture.

        Args:
            classes: how many there are.
            logits: whether the scores are logits, or else probabilities.
            keep: whether to remember every picture, for `judged`.
        """
        if classes < 1:
            raise InputError(f"a classifier has at least one class, not {classes}")
        self.classes = classes
        self.confusion = np.zeros((classes, classes), np.int64)
        self.ranks = np.zeros(classes, np.int64)
        self._logits, self._keep = logits, keep
        self._kept: list[Judged] = []

    def add(self, scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> Judged:
        """Count a batch, and return what became of each of its pictures.

        Args:
            scores: float [B, C], logits or probabilities as stated at the start.
            labels: int [B], the true classes in [0, C).

        Raises:
            InputError: other shapes, labels that are no classes, scores that are not finite or no probabilities.
        """
        labels = self._checked(scores, labels)
        judged = _judge(scores, labels, self._logits)
        np.add.at(self.confusion, (labels, judged.predicted), 1)
        self.ranks += np.bincount(judged.rank - 1, minlength=self.classes)
        if self._keep:
            self._kept.append(judged)
        return judged

    def judged(self) -> Judged:
        """Return all pictures so far, in the order in which they came. Raises `InputError` if none were kept."""
        if not self._keep:
            raise InputError("this tally keeps counts only; make it with keep=True")
        parts = [_EMPTY, *self._kept]
        return Judged(
            np.concatenate([part.true for part in parts]),
            np.concatenate([part.predicted for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.rank for part in parts]),
        )

    @property
    def count(self) -> int:
        """The number of pictures."""
        return int(self.ranks.sum())

    def top(self, k: int) -> Rate:
        """Return the share of pictures whose true class is among the `k` with the highest scores."""
        if k < 1:
            raise InputError(f"top-{k} means nothing; k is at least 1")
        return Rate(int(self.ranks[:k].sum()), self.count)

    def recall(self, label: int) -> Rate:
        """Return the share of a class's pictures that were recognised as such."""
        return Rate(int(self.confusion[label, label]), int(self.confusion[label].sum()))

    def precision(self, label: int) -> Rate:
        """Return the share of the pictures taken for a class that were such."""
        return Rate(int(self.confusion[label, label]), int(self.confusion[:, label].sum()))

    def balanced_accuracy(self) -> float | None:
        """Return the mean recall of the classes of which there are pictures, each counted alike; None of nothing."""
        pictures = self.confusion.sum(axis=1)
        present = pictures > 0
        if not present.any():
            return None
        return float((self.confusion.diagonal()[present] / pictures[present]).mean())

    def confusions(self) -> list[tuple[int, int, int]]:
        """Return (true class, predicted class, pictures) of every mistake made, the most frequent first."""
        true, predicted = np.nonzero(self.confusion)
        pairs = [(int(t), int(p), int(self.confusion[t, p])) for t, p in zip(true, predicted, strict=True) if t != p]
        return sorted(pairs, key=lambda pair: -pair[2])  # stable: equal ones stay in the order of the classes

    def _checked(self, scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> Ints:
        if scores.ndim != 2 or scores.shape[1] != self.classes or labels.shape != scores.shape[:1]:
            raise InputError(
                f"scores must be [B, {self.classes}] and labels [B], not {list(scores.shape)} and {list(labels.shape)}"
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"labels must be integers, not {labels.dtype}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
            raise InputError(f"labels from {labels.min()} to {labels.max()} do not fit {self.classes} classes")
        if not np.isfinite(scores).all():  # a NaN is below nothing, and its class would win
            raise InputError("scores are not finite: the network's weights or its images are damaged")
        if not self._logits and len(scores) and not 0 <= scores.min() <= scores.max() <= 1 + 1e-5:
            raise InputError(f"scores from {scores.min():g} to {scores.max():g} are no probabilities")
        return labels.astype(np.int64)


_NONE = np.empty(0, np.int64)
_EMPTY = Judged(_NONE, _NONE, np.empty(0, np.float32), _NONE)


def _judge(scores: NDArray[np.floating[Any]], labels: Ints, logits: bool) -> Judged:
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = 1 + ((scores > own) | (scores == own) & earlier).sum(axis=1)
    highest = scores.max(axis=1, keepdims=True)
    sums = np.exp(scores.astype(np.float64) - highest).sum(axis=1)
    probability = 1 / sums if logits else highest[:, 0]  # softmax, at its highest class
    return Judged(labels, scores.argmax(axis=1), probability.astype(np.float32), rank.astype(np.int64))
