"""Labelled images: their numbers fit each other, and a selection reads the images it selected."""

import numpy as np
import pytest

from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError

NAMES = ["a", "b", "c"]


def images(labels: list[int], classes: tuple[str, ...] = ("cat", "dog")) -> LabelledImages:
    return LabelledImages(NAMES, np.array(labels), classes, lambda index: NAMES[index].encode())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "labels from 0 to 2 do not match 2 classes"),
        ([-1, 0, 1], "labels from -1 to 1 do not match 2 classes"),
        ([0, 1], "3 images have 2 labels"),
    ],
)
def test_labels_that_do_not_fit(labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        images(labels)


def test_a_selection_reads_its_own_images() -> None:
    chosen = images([0, 1, 1]).take([2, 0])
    assert (list(chosen.names), chosen.labels.tolist(), chosen.classes) == (["c", "a"], [1, 0], ("cat", "dog"))
    assert [chosen.read(index) for index in range(len(chosen))] == [b"c", b"a"]
