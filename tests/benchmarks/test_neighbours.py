"""The vote of nearest neighbours, of benchmarks/neighbours.py."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pnasnet.errors import InputError

PATH = Path(__file__).parents[2] / "benchmarks" / "neighbours.py"
_spec = importlib.util.spec_from_file_location("neighbours", PATH)
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
nearest_neighbour_accuracy = _module.nearest_neighbour_accuracy

KNOWN = np.array([[1, 0], [2, 0.1], [0, 1], [0.1, 3]], np.float32)
LABELS = np.array([0, 0, 1, 1])


def test_neighbours_vote() -> None:
    asked = np.array([[5, 1], [1, 5], [1, 5]], np.float32)
    rate = nearest_neighbour_accuracy(KNOWN, LABELS, asked, np.array([0, 1, 0]), k=2)
    assert (rate.hits, rate.count) == (2, 3)


def test_most_votes_win_and_of_equal_ones_the_nearest() -> None:
    asked = np.array([[1, 0.05]], np.float32)
    labels = np.array([1, 2, 1, 1])  # the nearest is alone
    assert nearest_neighbour_accuracy(KNOWN, labels, asked, np.array([1]), k=3).hits == 1
    assert nearest_neighbour_accuracy(KNOWN, np.array([0, 2, 3, 4]), asked, np.array([2]), k=4).hits == (
        1 if asked[0] @ KNOWN[1] / np.linalg.norm(KNOWN[1]) > asked[0] @ KNOWN[0] else 0
    )


def test_many_vectors_go_in_pieces_and_length_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(300, 8)).astype(np.float32)
    labels = rng.integers(0, 3, 300)
    lengths = rng.uniform(0.1, 9, (1200, 1)).astype(np.float32)
    asked = np.tile(known, (4, 1)) * lengths
    assert nearest_neighbour_accuracy(known, labels, asked, np.tile(labels, 4), k=1).value == 1


def test_more_neighbours_than_vectors() -> None:
    with pytest.raises(InputError, match="5 neighbours of 4 vectors"):
        nearest_neighbour_accuracy(KNOWN, LABELS, KNOWN, LABELS, k=5)
