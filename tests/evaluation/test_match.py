"""The logit of each class of the data."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnasnet.architecture.labels import labels, wordnet_ids
from pnasnet.errors import InputError
from pnasnet.evaluation import match_classes
from pnasnet.evaluation.match import is_whole_imagenet

from tests.helpers.weights_files import one_line

ANIMALS = ("cat", "dog", "horse")
NAMES_1000, NAMES_1001 = labels("imagenet1000"), labels("imagenet1001")
NUMBERS = [str(number) for number in range(1000)]


def refusal(classes: Sequence[str], num_logits: int, names: Sequence[str] | None) -> str:
    with pytest.raises(InputError) as caught:
        match_classes(classes, num_logits, names)
    return one_line(caught.value)


@given(st.permutations(range(10)))
def test_equal_names_in_any_order(order: list[int]) -> None:
    names = labels("cifar10")
    match = match_classes([names[index] for index in order], 10, names)
    assert match.logits.tolist() == order
    assert match.logits.dtype == np.int64
    assert match.note == "10 matched by name"


def test_logits_without_a_class_compete() -> None:
    match = match_classes(["horse", "cat"], 3, ANIMALS)
    assert match.logits.tolist() == [2, 0]
    assert match.note == "2 matched by name; the model's other 1 competes"


def test_names_that_are_numbers_are_names() -> None:
    assert match_classes(["0", "1", "2"], 3, ["2", "1", "0"]).logits.tolist() == [2, 1, 0]


@pytest.mark.parametrize(("names", "offset"), [(NAMES_1000, 0), (NAMES_1001, 1)])
def test_wordnet_ids(names: tuple[str, ...], offset: int) -> None:
    match = match_classes(wordnet_ids()[::-1], len(names), names)
    assert match.logits.tolist() == list(range(offset, 1000 + offset))[::-1]
    assert names[match.logits[-1]] == "tench"
    assert ("background logit before them competes and is never right" in match.note) == bool(offset)
    assert "other" not in match.note
    assert is_whole_imagenet(match, len(names), names)
    few = match_classes(["n02123045", "n01440764"], len(names), names)
    assert [names[logit] for logit in few.logits] == ["tabby", "tench"]
    assert "the model's other 998 compete" in few.note
    assert not is_whole_imagenet(few, len(names), names)


def test_wordnet_ids_without_names() -> None:
    assert match_classes(wordnet_ids(), 1001, None).logits[0] == 1


def test_wordnet_ids_do_not_match_other_models_with_1000_classes() -> None:
    others = [f"species {index}" for index in range(1000)]
    assert "the data has 'n01440764'" in refusal(wordnet_ids(), 1000, others)


@pytest.mark.parametrize("classes", [("n02123045", "n01443537"), ("tabby, tabby cat", "goldfish, Carassius auratus")])
def test_some_of_imagenets_classes_by_id_and_by_lemmas(classes: tuple[str, ...]) -> None:
    match = match_classes(classes, 3, ("goldfish", "tench", "tabby"))
    assert match.logits.tolist() == [2, 0]
    assert match.note == "2 matched by the first of their names; the model's other 1 competes"


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("n02123045", "n01443537"), ("tench", "tabby")),
        (("cat, small", "cat, big"), ("cat", "dog")),
        (("cat", "dog"), ("cat, small", "cat, big", "dog")),
    ],
    ids=["missing", "twice in the data", "twice in the model"],
)
def test_first_names_match_only_if_each_matches_one(classes: tuple[str, ...], names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="classes are not among the model's"):
        match_classes(classes, len(names), names)


def test_numbers_by_index() -> None:
    match = match_classes(["2", "0", "1"], 3, ANIMALS)
    assert match.logits.tolist() == [2, 0, 1]
    assert match.note == "3 matched by number (0 is cat, 2 is horse)"
    assert match_classes(["0", "1", "2"], 3, None).note == "3 matched by number"


@pytest.mark.parametrize(("names", "offset"), [(NAMES_1000, 0), (NAMES_1001, 1), (None, 1)])
def test_imagenets_numbers_skip_the_background(names: tuple[str, ...] | None, offset: int) -> None:
    match = match_classes(NUMBERS, 1000 + offset, names)
    assert match.logits.tolist() == list(range(offset, 1000 + offset))
    assert ("number + 1" in match.note) == bool(offset)
    assert ("0 is tench, 999 is toilet tissue" in match.note) == (names is not None)
    assert is_whole_imagenet(match, 1000 + offset, names)


def test_1001_numbers_are_those_of_the_logits() -> None:
    match = match_classes([*NUMBERS, "1000"], 1001, NAMES_1001)
    assert match.logits.tolist() == list(range(1001))
    assert not is_whole_imagenet(match, 1001, NAMES_1001)


@pytest.mark.parametrize("names", [NAMES_1000, NAMES_1001])
def test_imagenets_names_with_all_their_lemmas_and_other_cranes(names: tuple[str, ...]) -> None:
    theirs = [f"{name.partition(',')[0].partition(' (')[0]}, and others" for name in NAMES_1000]
    theirs[517] = "crane2"
    match = match_classes(theirs, len(names), names)
    assert match.logits.tolist() == list(range(len(names) - 1000, len(names)))
    assert "ImageNet's order" in match.note
    assert "the data has 'toilet tissue, and others'" in refusal(theirs[::-1], len(names), names)


def test_imagenets_names_by_name() -> None:
    match = match_classes(NAMES_1000[::-1], 1001, NAMES_1001)
    assert match.logits.tolist() == list(range(1000, 0, -1))
    assert "background" in match.note
    assert is_whole_imagenet(match, 1001, NAMES_1001)


def test_data_may_have_the_background_as_a_class() -> None:
    match = match_classes(["tench", "background"], 1001, NAMES_1001)
    assert match.logits.tolist() == [1, 0]
    assert match.note == "2 matched by name; the model's other 999 compete"


def test_a_thousand_classes_with_the_background_are_not_imagenet() -> None:
    names = NAMES_1001[:1000]
    assert not is_whole_imagenet(match_classes(names, 1001, NAMES_1001), 1001, NAMES_1001)


def test_other_classes_are_refused_with_names_of_data_and_model() -> None:
    assert refusal(["cat", "lynx", "puma", "ocelot", "cougar"], 3, ANIMALS) == (
        "4 of the data's 5 classes are not among the model's 3: the data has 'lynx', 'puma', 'ocelot', ...; the model "
        "has 'cat', 'dog', 'horse': rename or remove those classes, or evaluate a model that was trained on them"
    )


def test_classes_without_names_are_refused_unless_they_are_numbers() -> None:
    assert refusal(ANIMALS, 3, None) == (
        "the model's 3 classes have no names, and the data's are 'cat', 'dog', 'horse': name the data's classes "
        "0 to 2, or evaluate weights that contain their labels"
    )


@pytest.mark.parametrize("names", [NAMES_1001, None])
def test_numbers_of_another_count_are_refused(names: Sequence[str] | None) -> None:
    assert refusal(NUMBERS[:10], 1001, names) == (
        "the data's 10 classes are numbers without names, and the model has 1,001 logits: "
        "name the data's classes, or evaluate a model with the same number"
    )


def test_a_thousand_numbers_do_not_match_other_models_with_1001_classes() -> None:
    assert "1,000 classes are numbers" in refusal(NUMBERS, 1001, [f"species {index}" for index in range(1001)])


@pytest.mark.parametrize("classes", [["0", "2"], ["00", "01"], ["1", "2"], ["0", "-1"]])
def test_other_numbers_are_not_indices(classes: list[str]) -> None:
    assert "'cat', 'dog'" in refusal(classes, 2, ANIMALS[:2])


def test_repeated_names_of_a_model_do_not_match() -> None:
    assert "3 classes but only 2 different names" in refusal(["cat", "crane"], 3, ["cat", "crane", "crane"])
