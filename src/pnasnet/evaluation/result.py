"""The result of an evaluation: of `evaluate`, of `finetune`, and in its card and report."""

from dataclasses import asdict, dataclass
from typing import Any

from .._version import __version__
from ..architecture.zoo import PublishedWeights
from .metrics import Rate


@dataclass(frozen=True)
class ClassFigures:
    """Recall and precision of one of the data's classes.

    Attributes:
        name: its name in the data.
        label: its name in the model.
        logit: its index among the logits.
        recall: the share of its pictures that were recognised.
        precision: the share of the predictions of this class that were right.
    """

    name: str
    label: str
    logit: int
    recall: Rate
    precision: Rate

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "logit": self.logit,
            "recall": self.recall.to_dict(),
            "precision": self.precision.to_dict(),
        }


@dataclass(frozen=True)
class Confusion:
    """The number of pictures of one class that were predicted to be of another; names are the model's."""

    true: str
    predicted: str
    images: int


@dataclass(frozen=True)
class Mistake:
    """A picture that was predicted to be of another class; names of classes are the model's."""

    image: str
    true: str
    predicted: str
    probability: float
    """Of the predicted class."""
    index: int
    """Of the picture in the data."""


@dataclass(frozen=True)
class Evaluation:
    """How often a classifier is right on labelled pictures, and how that was measured.

    Attributes:
        model: the network's name.
        weights: the origin of its weights.
        weights_sha256: their checksum.
        preset: the preprocessing.
        exif: whether the EXIF orientation was applied.
        image_size: height and width of the network's input.
        precision: `float32` or `bfloat16`.
        engine: description of the engine.
        matching: one line on how the data's classes were matched to the logits.
        num_logits: the width of the classifier.
        images: the number of pictures measured.
        failed: the number of pictures that could not be read.
        errors: the first few failures, a line each.
        top1: the share of pictures whose class has the highest logit; among equal logits, the first class counts.
        top5: the share of pictures whose class has one of the five highest; None for five classes or fewer.
        balanced_accuracy: the mean recall of the classes that have pictures; None without pictures.
        most_frequent: top-1 of always predicting the most frequent class.
        per_class: the data's classes, in order.
        confusions: all wrong predictions by class, the most frequent first.
        mistakes: the mistakes with the highest probability, the highest first.
        published: the published figures of these weights, if the data's classes are ImageNet's.
        seconds: the duration.
    """

    model: str
    weights: str
    weights_sha256: str
    preset: str
    exif: bool
    image_size: tuple[int, int]
    precision: str
    engine: str
    matching: str
    num_logits: int
    images: int
    failed: int
    errors: tuple[str, ...]
    top1: Rate
    top5: Rate | None
    balanced_accuracy: float | None
    most_frequent: Rate
    per_class: tuple[ClassFigures, ...]
    confusions: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]
    published: PublishedWeights | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation for JSON: plain values, and null for undefined shares."""
        published = self.published
        return {
            "pnasnet_version": __version__,
            **vars(self),
            "image_size": list(self.image_size),
            "errors": list(self.errors),
            "top1": self.top1.to_dict(),
            "top5": self.top5.to_dict() if self.top5 else None,
            "most_frequent": self.most_frequent.to_dict(),
            "per_class": [each.to_dict() for each in self.per_class],
            "confusions": [asdict(each) for each in self.confusions],
            "mistakes": [asdict(each) for each in self.mistakes],
            "published": {"weights": published.id, "top1": published.top1, "top5": published.top5}
            if published
            else None,
        }
