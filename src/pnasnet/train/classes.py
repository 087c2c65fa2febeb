"""Maps the classes of labelled images to the logits of a network."""

from dataclasses import replace

import numpy as np

from ..architecture.labels import labels, wordnet_ids
from ..datasets import LabelledImages
from ..errors import InputError
from ..evaluation.match import match_classes
from ..support.text import some_of


def check_classes(data: LabelledImages) -> None:
    """Raise `InputError` if a class has no images: a network would only learn never to predict it."""
    empty = [name for name, count in zip(data.classes, data.counts(), strict=True) if not count]
    if empty:
        raise InputError(
            f"{len(empty):,} of {len(data.classes):,} classes have no images to train on ({some_of(empty)}): "
            "add some, or remove the classes"
        )


def to_logits(data: LabelledImages, num_classes: int) -> tuple[LabelledImages, str]:
    """Return the images with logits as labels, and a line that describes the mapping.

    If there are as many classes as logits, their order is kept. If there are 1000 classes for 1001 logits, logit 0 is
    the background, as in TF-Slim; the classes are matched to ImageNet's by WordNet ID or by the order of names, or else
    keep their order.

    Raises `InputError` for any other number of classes.
    """
    count = len(data.classes)
    if count == num_classes:
        return data, f"{count:,} classes, in the order of the data"
    if (count, num_classes) != (1000, 1001):
        raise InputError(
            f"the data has {count:,} classes ({some_of(data.classes)}), the recipe {num_classes:,}: use a recipe file "
            f"with [spec] num_classes = {count}"
        )
    try:
        match = match_classes(data.classes, num_classes, None)
    except InputError:
        logits, note = np.arange(1, 1001), "1,000 classes, in the order of the data"
    else:
        logits, note = match.logits, match.note.partition(";")[0]
    published = set(data.classes) == set(wordnet_ids()) or "ImageNet's order" in note
    names = labels("imagenet1001") if published else ("background", *data.classes)
    return replace(data, labels=logits[data.labels], classes=names), f"{note}; logit 0, the background, has none"


def with_classes_of(data: LabelledImages, training: LabelledImages) -> LabelledImages:
    """Return validation images with the classes of the training images, matched by name.

    Raises `InputError` if the training images lack one of their classes.
    """
    number = {name: index for index, name in enumerate(training.classes)}
    missing = [name for name in data.classes if name not in number]
    if missing:
        raise InputError(
            f"the validation images have {len(missing)} classes that the training images lack ({some_of(missing)}; "
            f"these have {some_of(training.classes)}): use the same classes for both"
        )
    numbers = np.array([number[name] for name in data.classes], np.int64)
    return replace(data, labels=numbers[data.labels], classes=training.classes)
