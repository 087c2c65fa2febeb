"""From labels as people write them to the indices of classes."""

import numpy as np
import pytest

from pnasnet.datasets.classes import number_labels
from pnasnet.errors import InputError


@pytest.mark.parametrize(
    ("labels", "known", "numbers", "classes"),
    [
        ([2, 0], None, [2, 0], ("0", "1", "2")),
        ([1], ("cat", "dog"), [1], ("cat", "dog")),
        (["dog", "cat", "dog"], None, [1, 0, 1], ("cat", "dog")),
        (["e", "b", "d", "a", "c"], None, [4, 1, 3, 0, 2], ("a", "b", "c", "d", "e")),
        (["dog"], ("fish", "dog"), [1], ("fish", "dog")),
        ([], None, [], ()),
    ],
)
def test_labels_become_indices(
    labels: list[int | str], known: tuple[str, ...] | None, numbers: list[int], classes: tuple[str, ...]
) -> None:
    found, names = number_labels(labels, [f"p{index}" for index in range(len(labels))], known)
    assert (found.tolist(), names) == (numbers, classes)
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "known", "message"),
    [
        ([0, "cat"], None, "'p1' has the label 'cat', where others have numbers: use one kind for all"),
        (["cat", 0], None, "'p1' has the label 0, where others have names: use one kind for all"),
        ([0, 2], ("a", "b"), "'p1' has the label 2, which is not a number from 0 to 1: correct it, or leave it out"),
        ([0, 2**70], None, r"'p1' has the label 1180591620717411303424, which is not a number from 0 to 999999"),
        ([0, -5], None, "'p1' has the label -5, which is not a number"),
        (["a", "c"], ("a", "b"), "'p1' has the label 'c', which is not one of the 2 named classes"),
        (["a", "c" * 999], ("a", "b"), r"'p1' has the label 'ccc.{0,30}', which is not one"),
    ],
)
def test_label_that_is_no_class_is_an_error(
    labels: list[int | str], known: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        number_labels(labels, ["p0", "p1"], known)
