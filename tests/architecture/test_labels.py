from pathlib import Path
from typing import get_args

import pytest

import pnasnet
from pnasnet.architecture.labels import labels, wordnet_ids
from pnasnet.architecture.zoo import Labels, PublishedWeights

TABLE = Path(pnasnet.__file__).parent / "data" / "imagenet_classes.tsv"


@pytest.mark.parametrize("kind", get_args(Labels))
def test_there_is_one_name_for_each_logit_and_none_twice(kind: Labels) -> None:
    names = labels(kind)
    assert len(names) == len(set(names)) == PublishedWeights("any", "", "", kind).num_classes
    assert all(name and name == name.strip() for name in names)


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "tench"),
        (1, "goldfish"),
        (134, "crane (bird)"),
        (281, "tabby"),
        (388, "giant panda"),
        (510, "container ship"),
        (517, "crane (machine)"),
        (638, "maillot"),
        (639, "maillot, tank suit"),
        (657, "missile"),
        (812, "space shuttle"),
        (967, "espresso"),
        (999, "toilet tissue"),
    ],
)
def test_imagenet_classes_are_where_they_belong(index: int, name: str) -> None:
    assert labels("imagenet1000")[index] == name
    assert labels("imagenet1001")[index + 1] == name


def test_the_class_before_the_first_is_the_background() -> None:
    assert labels("imagenet1001")[0] == "background"


def test_the_table_is_in_the_order_of_synsets() -> None:
    synsets = [line.split("\t")[0] for line in TABLE.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert synsets == sorted(set(synsets))
    assert len(synsets) == 1000
    assert synsets[0] == "n01440764"
    assert wordnet_ids() == tuple(synsets)


def test_cifar_classes() -> None:
    names = labels("cifar10")
    assert (names[0], names[9]) == ("airplane", "truck")


def test_tiny_imagenet_classes() -> None:
    names = labels("tiny_imagenet")
    assert (names[0], names[1], names[30], names[199]) == ("goldfish", "European fire salamander", "tabby", "acorn")
