"""Figures and names as the card and the report print them."""

from collections.abc import Sequence

import numpy as np

from ..evaluation import Rate, Tally
from ..support.text import NOTHING, percent
from .outcome import Outcome


def interval(rate: Rate, digits: int = 2) -> str:
    """Return a rate's 95 % interval as `91.02 to 94.90 %`."""
    low, high = rate.interval
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %" if rate.count else NOTHING


def figures(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Return (what, value, 95 % interval) of each figure of the whole."""
    tally = outcome.test
    rates = [("top-1", tally.top(1))]
    if len(outcome.classes) > 5:  # of five classes, the five highest are all there are
        rates.append(("top-5", tally.top(5)))
    rows = [(what, f"{percent(r.value)} ({r.hits:,} of {r.count:,})", interval(r)) for what, r in rates]
    rows.append(("mean recall of the classes", percent(tally.balanced_accuracy()), ""))
    if outcome.history:
        rows.append(("top-1 of the classifier on fixed features", percent(outcome.head_top1), ""))
    rows.append(("top-1 of always naming the most frequent class", percent(most_frequent(tally)), ""))
    return rows


def most_frequent(tally: Tally) -> float | None:
    """Return how often one would be right who always names the class with the most pictures: what top-1 must beat."""
    return float(tally.confusion.sum(axis=1).max()) / tally.count if tally.count else None


def measured_on(outcome: Outcome) -> str:
    """Return a sentence that says what the figures are worth."""
    if outcome.test_part == "test":
        return "The test pictures took no part in training, nor in any choice."
    return (
        "There were no test pictures. The figures are of the validation pictures, by which the classifier was chosen, "
        "so that they flatter it."
    )


def worst_first(tally: Tally) -> list[int]:
    """Return the classes by recall, the lowest first; those without pictures come last."""
    recalls = [tally.recall(label).value for label in range(tally.classes)]
    return sorted(range(tally.classes), key=lambda label: (recalls[label] is None, recalls[label] or 0.0))


def best_epoch(history: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Return the epoch with the lowest validation loss; None where none was validated."""
    seen = [epoch for epoch in history if np.isfinite(epoch.get("validation_loss", np.nan))]
    return min(seen, key=lambda epoch: epoch["validation_loss"], default=None)
