"""The number of lists that a search of the approximate index visits."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pnasnet.vectors.recall import HeldOut, HeldOutNeighbours, MeasuredRecall, is_held_out, lists_to_visit


def found(visits: Any) -> HeldOutNeighbours:
    """Return neighbours that need these numbers of lists [held out, 10], and the vectors themselves, which need 1."""
    visits = np.asarray(visits, np.float32)
    similarities = np.linspace(0.9, 0.5, 10, dtype=np.float32) * np.ones_like(visits)
    return HeldOutNeighbours(np.insert(similarities, 3, 1, axis=1), np.insert(visits, 3, 1, axis=1))


def test_neighbours_and_their_lists_are_found_exactly() -> None:
    """The lists nearest to each vector are visited first."""
    rng = np.random.default_rng(0)
    vectors, lists = rng.random((300, 5), np.float32), rng.integers(7, size=300)
    held = vectors[[5, 250]]
    order = np.array([[3, 1, 0, 2, 4, 6, 5], [6, 5, 4, 3, 2, 1, 0]])
    quantizer = SimpleNamespace(ntotal=7, search=lambda queries, count: (None, order))
    held_out = HeldOut(held, quantizer)
    for start in range(0, 300, 7):  # blocks, of which the first are shorter than the number of neighbours
        held_out.see(vectors[start : start + 7], lists[start : start + 7])
    for query, similarities, visits, ranks in zip(
        held, held_out.found.similarities, held_out.found.visits, order.tolist(), strict=True
    ):
        best = np.argsort(-(vectors @ query))[:11]
        placed = np.argsort(-similarities)
        np.testing.assert_allclose(similarities[placed], vectors[best] @ query, rtol=1e-6)
        assert visits[placed].tolist() == [ranks.index(number) + 1 for number in lists[best]]


def test_the_least_number_of_lists_with_the_wanted_recall() -> None:
    """Of 5,000 neighbours, 40 are missed with 102 lists, which is too near to 50 to be certain; 10 with 105."""
    visits = np.ones((500, 10))
    visits[:100, 0] = 102
    visits[:30, 1] = 105
    visits[:10, 2] = 109
    assert lists_to_visit([found(visits)], 200) == MeasuredRecall(105, 4990, 5000)


def test_neighbours_are_those_of_all_parts_together() -> None:
    near, far = found(np.full((200, 10), 102)), found(np.full((200, 10), 108))
    far = HeldOutNeighbours(far.similarities / np.float32(3), far.visits)
    assert lists_to_visit([far], 200).probes == 108
    assert lists_to_visit([far, near], 200).probes == lists_to_visit([near, far], 200).probes == 102


def test_of_few_vectors_nothing_is_concluded() -> None:
    assert lists_to_visit([found(np.ones((99, 10)))], 20) == MeasuredRecall(20)
    assert lists_to_visit([found(np.ones((100, 10)))], 20) == MeasuredRecall(20, 1000, 1000)


def test_at_least_64_lists_are_visited() -> None:
    visits = np.ones((200, 10))
    visits[0, 0] = 70
    assert lists_to_visit([found(visits)], 1000) == MeasuredRecall(64, 1999, 2000)


@pytest.mark.parametrize(("rows", "held"), [(9, 0), (10, 1), (999, 99), (10_000, 1000), (1_000_000, 1000)])
def test_1000_vectors_are_held_out_or_one_in_ten(rows: int, held: int) -> None:
    assert is_held_out(np.arange(rows), rows).sum() == held
