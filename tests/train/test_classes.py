"""Classes of the data against logits of the network that is trained."""

from dataclasses import replace

import numpy as np
import pytest

from pnasnet.architecture.labels import labels, wordnet_ids
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError
from pnasnet.train.classes import check_classes, to_logits, with_classes_of


def data(classes: tuple[str, ...], numbers: tuple[int, ...] = (0, 1)) -> LabelledImages:
    return LabelledImages([f"{i}" for i in range(len(numbers))], np.array(numbers), classes, lambda index: b"")


def test_as_many_classes_keep_their_order() -> None:
    given = data(("b", "a"))
    assert to_logits(given, 2) == (given, "2 classes, in the order of the data")


def test_imagenet_by_wordnet_id_in_any_order() -> None:
    ids = wordnet_ids()
    found, note = to_logits(data((*ids[1:], ids[0]), (0, 999)), 1001)
    assert found.labels.tolist() == [2, 1]
    assert found.classes == labels("imagenet1001")
    assert note == "1,000 matched by WordNet id; logit 0, the background, has none"


def test_imagenet_by_its_order() -> None:
    found, note = to_logits(data(labels("imagenet1000"), (0, 999)), 1001)
    assert found.labels.tolist() == [1, 1000]
    assert found.classes == labels("imagenet1001")
    assert "background" in note


def test_other_thousand_classes_come_behind_the_background() -> None:
    for names in (tuple(f"class {i}" for i in range(1000)), tuple(map(str, range(1000)))):
        found, note = to_logits(data(names, (0, 999)), 1001)
        assert found.labels.tolist() == [1, 1000]
        assert found.classes == ("background", *names)
        assert note.endswith("; logit 0, the background, has none")


@pytest.mark.parametrize("classes", [1, 999, 3])
def test_other_numbers_of_classes_are_refused(classes: int) -> None:
    names = tuple(f"c{i}" for i in range(classes))
    with pytest.raises(
        InputError, match=rf"the data has {classes} classes \('c0'.*, the recipe 1,001: use a recipe file"
    ):
        to_logits(data(names, (0,)), 1001)


def test_validation_has_the_training_images_classes() -> None:
    training = data(("cat", "dog", "owl"))
    found = with_classes_of(data(("owl", "cat"), (0, 1, 0)), training)
    assert found.labels.tolist() == [2, 0, 2]
    assert found.classes == training.classes
    with pytest.raises(InputError, match=r"1 classes that the training images lack \('bat'; these have 'cat', 'dog'"):
        with_classes_of(replace(training, classes=("cat", "dog", "bat")), training)


def test_a_class_without_images() -> None:
    check_classes(data(("a", "b")))
    message = r"1 of 3 classes have no images to train on \('b'\): add some, or remove the classes"
    with pytest.raises(InputError, match=message):
        check_classes(data(("a", "b", "c"), (0, 2, 2)))
