"""Reliability bins, calibration error and thresholds, on predictions made by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pnasnet.evaluation import Calibration


def logits_of(probabilities: list[float]) -> NDArray[np.float64]:
    """Return logits of two classes, the first of which has the given probability."""
    first = np.array(probabilities)
    logits: NDArray[np.float64] = np.log(np.stack([first, 1 - first], axis=1))
    return logits


def calibration(probabilities: list[float], right: list[bool]) -> Calibration:
    made = Calibration()
    made.add(logits_of(probabilities), np.where(right, 0, 1))
    return made


def test_bins() -> None:
    bins = calibration([0.75, 0.72, 0.9, 0.99], [True, False, True, True]).bins()
    assert [(each.accuracy.hits, each.accuracy.count) for each in bins] == [(0, 0)] * 7 + [(1, 2), (0, 0), (2, 2)]
    assert bins[7].confidence == pytest.approx(0.735)
    assert bins[8].confidence is None
    assert (bins[9].low, bins[9].high) == (0.9, 1.0)


def test_expected_error() -> None:
    """Two of 0.735 are right once, two of 0.945 twice."""
    made = calibration([0.75, 0.72, 0.9, 0.99], [True, False, True, True])
    assert made.error() == pytest.approx((2 * 0.235 + 2 * 0.055) / 4)
    assert Calibration().error() is None


def test_thresholds_leave_out_what_is_below() -> None:
    rows = {each.least: each for each in calibration([0.6, 0.8, 0.95, 0.97], [False, True, False, True]).thresholds()}
    assert [(row.answered.hits, row.accuracy.hits) for row in rows.values()] == [
        (4, 2), (4, 2), (4, 2), (3, 2), (3, 2), (2, 1), (2, 1), (0, 0),
    ]  # fmt: skip
    assert rows[0.99].accuracy.value is None


def test_counts_do_not_depend_on_batches_and_a_certain_prediction_is_in_the_last_bin() -> None:
    made = Calibration()
    for row in logits_of([0.6, 0.9]):
        made.add(row[None], np.array([0]))
    made.add(np.array([[1000.0, 0.0]]), np.array([0]))
    whole = calibration([0.6, 0.9], [True, True])
    assert (made.counts - whole.counts).nonzero()[0].tolist() == [99]
    assert made.to_dict()["thresholds"][-1]["answered"]["hits"] == 1
