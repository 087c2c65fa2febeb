"""The figures of benchmarks/example_photos.py: kinds of nearest neighbours, and the chance of these."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "example_photos.py"
_spec = importlib.util.spec_from_file_location("example_photos", PATH)
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


def test_the_nearest_other_vector_counts_by_cosine() -> None:
    vectors = np.array([[1, 0], [9, 1], [0, 1], [0.1, 3], [1, 1]], np.float32)
    assert _module.same_kind(vectors, ["a", "a", "b", "a", "b"]) == [True, True, False, False, False]


def test_mixed_photos_are_found_but_do_not_ask() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0, 2]], np.float32)
    assert _module.same_kind(vectors, ["a", "other", "b", "b"]) == [False, True, True]


def test_chance_is_the_share_of_others_of_the_kind() -> None:
    assert _module.chance(["a", "a", "a", "other", "b"]) == pytest.approx((3 * 2 / 4 + 0) / 4)


def test_the_rank_is_that_of_the_own_class() -> None:
    class Asked:
        labels = ("dam", "bee", "alp")

        def classify(self, photos: list[Path], top: int) -> list[list[tuple[str, float]]]:
            assert top == 3
            return [[("bee", 0.6), ("alp", 0.3), ("dam", 0.1)] for _ in photos]

    assert _module.ranks(Asked(), [Path("1"), Path("2")], ["alp", "bee"]) == [1, 0]
