"""Class indices from labels that are numbers or names."""

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
        ([0, "cat"], None, "the label of 'p1' is 'cat', but others are numbers: use one kind"),
        (["cat", 0], None, "the label of 'p1' is 0, but others are names: use one kind"),
        ([0, 2], ("a", "b"), "the label of 'p1' is 2, not a number from 0 to 1: correct it, or remove the image"),
        ([0, 2**70], None, r"the label of 'p1' is 1180591620717411303424, not a number from 0 to 999999"),
        ([0, -5], None, "the label of 'p1' is -5, not a number"),
        (["a", "c"], ("a", "b"), "the label of 'p1' is 'c', not one of the 2 named classes"),
        (["a", "c" * 999], ("a", "b"), r"the label of 'p1' is 'ccc.{0,30}', not one"),
    ],
)
def test_a_label_outside_the_classes_is_an_error(
    labels: list[int | str], known: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        number_labels(labels, ["p0", "p1"], known)
