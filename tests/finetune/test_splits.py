"""Splits: by names alone, by class, kept, and never without a picture to train and one to validate."""

from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError, OutputError
from pnasnet.finetune.splits import Fractions, kept_split, split


def data(*counts: int, start: int = 0) -> LabelledImages:
    """Return so many pictures of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"{label}/{index + start}.jpg" for index, label in enumerate(labels)]
    return LabelledImages(names, labels, tuple(f"class {i}" for i in range(len(counts))), lambda index: b"")


@given(st.lists(st.integers(2, 40), min_size=1, max_size=4), st.floats(0.01, 0.5), st.floats(0, 0.45))
def test_each_class_trains_and_validates(counts: list[int], validation: float, test: float) -> None:
    pictures = data(*counts)
    parts = split(pictures, Fractions(validation, test))
    for label, count in enumerate(counts):
        own = parts[pictures.labels == label].tolist()
        assert own.count("training") >= 1
        assert own.count("validation") == min(max(round(count * validation), 1), count - 1)
        assert abs(own.count("test") - count * test) <= 1 or own.count("training") == 1


def test_shares_are_kept() -> None:
    parts = split(data(100, 1000), Fractions(0.2, 0.1)).tolist()
    assert {part: parts.count(part) for part in sorted(set(parts))} == {"test": 110, "training": 770, "validation": 220}


def test_a_picture_stays_where_it_is_whatever_the_order() -> None:
    pictures = data(30, 30)
    order = np.random.default_rng(0).permutation(60)
    first, second = (split(pictures, Fractions()), split(pictures.take(order), Fractions()))
    np.testing.assert_array_equal(first[order], second)
    assert (split(pictures, Fractions(), seed=1) != first).any()


@pytest.mark.parametrize(("count", "words"), [(0, "has no pictures,"), (1, "has 1 picture,")])
def test_a_class_too_small_to_split(count: int, words: str) -> None:
    with pytest.raises(InputError, match=f"class 'class 1' {words} and needs one to train"):
        split(data(5, count), Fractions())


def test_a_class_of_two_has_none_to_test() -> None:
    assert sorted(split(data(2), Fractions(0.15, 0.15))) == ["training", "validation"]


@pytest.mark.parametrize("shares", [(0, 0.1), (0.5, 0.5), (-0.1, 0.1), (0.2, -0.1), (nan, 0.1), (0.1, nan), (inf, 0)])
def test_shares_that_leave_nothing(shares: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="must be shares"):
        Fractions(*shares)


def test_what_was_split_stays_so_and_new_pictures_join(tmp_path: Path) -> None:
    path, fewer = tmp_path / "splits.parquet", data(20, 20)
    first = kept_split(path, fewer, Fractions()).parts
    again = kept_split(path, fewer, Fractions(0.4, 0.4), seed=9)
    np.testing.assert_array_equal(first, again.parts)
    assert (again.fractions, again.seed) == (Fractions(), 0)
    more = data(20, 20)
    added = LabelledImages(
        [*more.names, *(f"new/{i}.jpg" for i in range(40))], np.tile(more.labels, 2), more.classes, more.read
    )
    third = kept_split(path, added, Fractions(0.4, 0.4), seed=9)
    np.testing.assert_array_equal(third.parts[:40], first)
    np.testing.assert_array_equal(third.parts[40:], split(added, Fractions())[40:])  # as the others were
    np.testing.assert_array_equal(kept_split(path, added, Fractions()).parts, third.parts)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "splits.parquet"
    path.write_bytes(b"no")
    with pytest.raises(InputError, match=r"splits\.parquet is no list of splits .*remove it"):
        kept_split(path, data(5, 5), Fractions())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*splits\.parquet"):
        kept_split(tmp_path / "none" / "splits.parquet", data(5, 5), Fractions())
