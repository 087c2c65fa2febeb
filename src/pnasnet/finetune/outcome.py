"""What a fine-tuning came to: the values that the model's folder, its card and its report are written from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..evaluation import Tally
from ..images import Source
from .head import Head


@dataclass(frozen=True)
class Mistake:
    """A test picture that was taken for another class."""

    name: str
    picture: Source
    true: int
    predicted: int
    probability: float
    """What the model gave the class that it took the picture for."""


@dataclass(frozen=True)
class Outcome:
    """What came of a fine-tuning.

    Attributes:
        base: the model that it started from, by name.
        base_weights: where that model's weights come from.
        source: the pictures, as the user named them.
        command: what to run to get the same again.
        classes: the names of the classes.
        counts: of each part (training, validation, test) the number of pictures by class, [C] int64.
        image_size: height and width that the model takes.
        preset: the preprocessing.
        head: the classifier on fixed features, and how its regularization was chosen.
        test: counts of right and wrong on the test pictures, of the model that was written; on the validation
            pictures where there are no test pictures.
        test_part: "test" or "validation", by what `test` counts.
        head_top1: the share of right answers of the head on fixed features, on the same pictures.
        tuned: whether the model that was written is the network trained as a whole, not the classifier alone.
        history: the figures of each epoch of training the whole network; empty without.
        mistakes: the surest mistakes, first the surest.
        skipped: pictures that could not be read, a line each.
        notes: sentences about choices that were made, such as a classifier that was replaced.
        settings: the options, by name.
        seconds: how long each stage took.
        rank: of this process; with several devices, those from 1 up have neither measured nor written the model, and
            should be silent.
    """

    base: str
    base_weights: str
    source: str
    command: str
    classes: tuple[str, ...]
    counts: Mapping[str, NDArray[np.int64]]
    image_size: tuple[int, int]
    preset: str
    head: Head
    test: Tally
    test_part: str
    head_top1: float
    tuned: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rank: int = 0
