"""Figures against numbers calculated by hand and against definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pnasnet.errors import InputError
from pnasnet.evaluation import Rate, Tally, wilson

SCORES = np.array(
    [
        [3, 1, 0, 2],  # 0: right
        [0, 5, 0, 0],  # 0: taken for 1; ranks second, ahead of its equals
        [0, 5, 0, 0],  # 3: taken for 1; ranks fourth, behind its equals
        [1, 1, 1, 1],  # 2: all equal: taken for 0, ranks third
        [0, 0, 9, 0],  # 2: right
    ],
    np.float32,
)
LABELS = np.array([0, 0, 3, 2, 2])


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials = np.exp(scores.astype(np.float64))
    shares: NDArray[np.float32] = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def tally(scores: NDArray[np.float32] = SCORES, labels: NDArray[np.int64] = LABELS, *, mistakes: int = 9) -> Tally:
    made = Tally(scores.shape[1], mistakes=mistakes)
    made.add(scores, labels)
    return made


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (8, 10, 0.490, 0.943),
        # Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_is_as_published(hits: int, count: int, low: float, high: float) -> None:
    digits = 3 if count == 10 and hits == 8 else 4
    assert tuple(round(end, digits) for end in wilson(hits, count)) == (low, high)


def test_wilson_without_images() -> None:
    assert wilson(0, 0) == (0, 1)
    assert Rate(0, 0).value is None
    assert Rate(0, 0).to_dict() == {"value": None, "hits": 0, "count": 0, "interval95": [0.0, 1.0]}


@pytest.mark.parametrize(("hits", "count"), [(-1, 5), (6, 5), (1, 0)])
def test_wilson_refuses_invalid_shares(hits: int, count: int) -> None:
    with pytest.raises(InputError, match=f"{hits} of {count} is not a share"):
        wilson(hits, count)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_the_equation_of_the_score_test(case: tuple[int, int]) -> None:
    hits, count = case
    low, high = wilson(hits, count)
    share = hits / count
    assert 0 <= low <= share <= high <= 1
    mirrored = wilson(count - hits, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    for end in (low, high):  # |p - end| = z sqrt(end (1 - end) / n) defines the interval
        assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), rel=1e-4, abs=1e-7)


@given(st.integers(1, 300), st.integers(2, 50))
def test_more_images_give_narrower_intervals(count: int, times: int) -> None:
    few, many = wilson(count // 2, count), wilson(count // 2 * times, count * times)
    assert many[1] - many[0] < few[1] - few[0]


def test_figures_calculated_by_hand() -> None:
    made = tally()
    assert made.count == 5
    assert [made.top(k).hits for k in (1, 2, 3, 4, 9)] == [2, 3, 4, 5, 5]
    assert made.top(1) == Rate(2, 5)
    assert made.confusion.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0]]
    assert [made.recall(label) for label in range(4)] == [Rate(1, 2), Rate(0, 0), Rate(1, 2), Rate(0, 1)]
    assert [made.precision(label) for label in range(4)] == [Rate(1, 2), Rate(0, 2), Rate(1, 1), Rate(0, 0)]
    assert made.balanced_accuracy() == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert made.confusions() == [(0, 1, 1), (2, 0, 1), (3, 1, 1)]
    assert made.most_frequent() == Rate(2, 5)
    assert [(place, predicted) for place, predicted, _ in made.mistakes] == [(1, 1), (2, 1), (3, 0)]
    assert [p for _, _, p in made.mistakes] == pytest.approx(softmax(SCORES)[[1, 2, 3]].max(axis=1).tolist())


def test_the_most_frequent_confusion_comes_first() -> None:
    scores = np.eye(3, dtype=np.float32)[[1, 2, 2, 2, 0]]
    assert tally(scores, np.array([0, 0, 1, 1, 2])).confusions() == [(1, 2, 2), (0, 1, 1), (0, 2, 1), (2, 0, 1)]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_only_the_most_confident_mistakes_are_kept(batch: int) -> None:
    """Positions count all images; ties stay in order."""
    made = Tally(3, mistakes=2)
    scores = np.array([[0, 1, 0], [9, 0, 0], [0, 5, 0], [0, 0, 1], [0, 0, 5]], np.float32)
    for start in range(0, 5, batch):
        made.add(scores[start : start + batch], np.zeros(len(scores[start : start + batch]), np.int64))
    assert [(place, predicted) for place, predicted, _ in made.mistakes] == [(2, 1), (4, 2)]
    assert tally(mistakes=0).mistakes == []


def test_a_tally_without_images() -> None:
    made = Tally(3, mistakes=5)
    made.add(np.empty((0, 3), np.float32), np.empty(0, np.int64))
    assert (made.top(1), made.balanced_accuracy(), made.confusions()) == (Rate(0, 0), None, [])
    assert (made.most_frequent(), made.mistakes) == (Rate(0, 0), [])


def test_large_logits_do_not_overflow() -> None:
    (mistake,) = tally(np.array([[30_000, 29_999, -30_000]], np.float32), np.array([1])).mistakes
    assert mistake[2] == pytest.approx(1 / (1 + math.exp(-1)))


cases = st.tuples(st.integers(1, 30), st.integers(2, 12), st.integers(0, 2**32 - 1))


@given(cases, st.integers(1, 5))
def test_ranks_are_positions_in_a_stable_sort_for_any_batches(case: tuple[int, int, int], batch: int) -> None:
    size, classes, seed = case
    random = np.random.default_rng(seed)
    scores = random.integers(0, 4, (size, classes)).astype(np.float32)  # many equal ones
    labels = random.integers(0, classes, size)
    made = Tally(classes)
    for start in range(0, size, batch):
        made.add(scores[start : start + batch], labels[start : start + batch])
    order = np.argsort(-scores, axis=1, kind="stable")
    places = [list(row).index(label) + 1 for row, label in zip(order, labels, strict=True)]
    assert made.ranks.tolist() == np.bincount(np.array(places) - 1, minlength=classes).tolist()
    assert made.confusion.sum(axis=0).tolist() == np.bincount(order[:, 0], minlength=classes).tolist()
    for k in range(1, classes + 1):
        assert made.top(k) == Rate(sum(place <= k for place in places), size)
    assert made.top(1).hits == made.confusion.trace()
    assert made.confusion.sum() == size
    assert made.confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=classes).tolist()
    assert sum(n for _, _, n in made.confusions()) == size - made.top(1).hits


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES[:, :3], LABELS, r"logits must be \[B, 4\] and labels \[B\], not \[5, 3\] and \[5\]"),
        (SCORES[0], LABELS, r"not \[4\]"),
        (SCORES, LABELS[:4], r"not \[5, 4\] and \[4\]"),
        (SCORES, LABELS.astype(float), "labels must be integers, not float64"),
        (SCORES, LABELS + 1, "labels from 1 to 4 do not match 4 classes"),
        (SCORES, LABELS - 1, "labels from -1 to 2"),
        (SCORES * np.nan, LABELS, "not finite"),
    ],
)
def test_bad_batches_are_refused_and_not_counted(
    scores: NDArray[np.float32], labels: NDArray[np.int64], message: str
) -> None:
    made = Tally(4, mistakes=5)
    with pytest.raises(InputError, match=message):
        made.add(scores, labels)
    assert made.count == 0
    assert made.mistakes == []


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="at least one class"):
        Tally(0)
    with pytest.raises(InputError, match="top-0"):
        tally().top(0)
