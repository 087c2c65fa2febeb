"""Compares the probability of predicted classes with their accuracy."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import Ints, Rate, top_probability

_FINE, _BINS = 100, 10
"""Number of bins in which predictions are counted, and of bins in the diagram."""

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities below which a user might leave the decision to a person; each is a limit of bins."""


@dataclass(frozen=True)
class Bin:
    """Predictions whose probability lies between `low` and `high`.

    Attributes:
        low, high: the limits.
        confidence: mean probability; None without predictions.
        accuracy: share of right predictions.
    """

    low: float
    high: float
    confidence: float | None
    accuracy: Rate


@dataclass(frozen=True)
class Threshold:
    """The effect of leaving out predictions with a probability below `least`.

    Attributes:
        least: the threshold.
        answered: share of the images that are not left out.
        accuracy: share of right predictions among these.
    """

    least: float
    answered: Rate
    accuracy: Rate


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predictions by the probability of the predicted class, in `_FINE` bins of equal width; the last includes 1.

    Attributes:
        counts: number of predictions, int64 [100].
        hits: number of right ones, int64 [100].
        sums: sum of their probabilities, float64 [100].

    Example:
        >>> import numpy as np
        >>> from pnasnet.evaluation import Calibration
        >>> calibration = Calibration()
        >>> calibration.add(np.log([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
        >>> int(calibration.counts.sum()), int(calibration.hits.sum())
        (2, 1)
        >>> [(each.low, each.accuracy.hits) for each in calibration.bins() if each.accuracy.count]
        [(0.8, 0), (0.9, 1)]
        >>> round(calibration.error(), 2), calibration.to_dict()["expected_error"] == calibration.error()
        (0.45, True)
        >>> [(each.least, each.answered.value) for each in calibration.thresholds()][-1]
        (0.99, 0.0)
    """

    counts: Ints = field(default_factory=lambda: np.zeros(_FINE, np.int64))
    hits: Ints = field(default_factory=lambda: np.zeros(_FINE, np.int64))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(_FINE))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and all(
            np.array_equal(mine, vars(other)[name]) for name, mine in vars(self).items()
        )

    __hash__ = None  # type: ignore[assignment] # the arrays change

    def add(self, logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Count a batch of logits [B, C] with the true classes [B]. The arguments were checked by `Tally.add`."""
        probabilities, right = top_probability(logits), logits.argmax(axis=1) == labels
        bins = np.minimum(np.floor(probabilities * _FINE + 1e-9), _FINE - 1).astype(np.int64)
        np.add.at(self.counts, bins, 1)
        np.add.at(self.hits, bins, right)
        np.add.at(self.sums, bins, probabilities)

    def bins(self) -> list[Bin]:
        """Return the ten bins of a reliability diagram (Niculescu-Mizil and Caruana, ICML 2005)."""
        counts, hits, sums = (
            values.reshape(_BINS, -1).sum(axis=1).tolist() for values in (self.counts, self.hits, self.sums)
        )
        return [
            Bin(number / _BINS, (number + 1) / _BINS, total / count if count else None, Rate(right, count))
            for number, (count, right, total) in enumerate(zip(counts, hits, sums, strict=True))
        ]

    def error(self) -> float | None:
        """Return the expected calibration error over the ten bins; None without predictions.

        The mean distance of accuracy and confidence, weighted by predictions (Guo et al., "On Calibration of Modern
        Neural Networks", ICML 2017).
        """
        total = int(self.counts.sum())
        if not total:
            return None
        gaps = (abs(each.accuracy.hits - (each.confidence or 0) * each.accuracy.count) for each in self.bins())
        return math.fsum(gaps) / total

    def thresholds(self) -> list[Threshold]:
        """Return the effect of each of `THRESHOLDS`."""
        total, rows = int(self.counts.sum()), list[Threshold]()
        for least in THRESHOLDS:
            start = round(least * _FINE)
            kept, right = int(self.counts[start:].sum()), int(self.hits[start:].sum())
            rows.append(Threshold(least, Rate(kept, total), Rate(right, kept)))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "expected_error": self.error(),
            "bins": [vars(each) | {"accuracy": each.accuracy.to_dict()} for each in self.bins()],
            "thresholds": [
                {"least": each.least, "answered": each.answered.to_dict(), "accuracy": each.accuracy.to_dict()}
                for each in self.thresholds()
            ],
        }
