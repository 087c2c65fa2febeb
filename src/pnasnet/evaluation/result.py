"""The result of an evaluation, used by `evaluate`, by `finetune`, and in model cards and reports."""

from dataclasses import asdict, dataclass
from typing import Any

from .._version import __version__
from ..architecture.zoo import PublishedWeights
from .calibration import Calibration
from .metrics import Rate


@dataclass(frozen=True)
class ClassFigures:
    """Recall and precision of one of the data's classes.

    Attributes:
        name: name in the data.
        label: name in the model.
        logit: index of its logit.
        recall: share of its images that were predicted as this class.
        precision: share of the predictions of this class that were right.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.evaluation import evaluate
        >>> result = evaluate(Module("pnasnet_tiny"), open_dataset("animals"))
        >>> result.per_class[1].name, result.per_class[1].recall.count
        ('cat', 20)
        >>> result.per_class[1].to_dict()["recall"]["count"]
        20
    """

    name: str
    label: str
    logit: int
    recall: Rate
    precision: Rate

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return vars(self) | {"recall": self.recall.to_dict(), "precision": self.precision.to_dict()}


@dataclass(frozen=True)
class Confusion:
    """The number of images of one class that were predicted as another. Names are the model's.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.evaluation import evaluate
        >>> result = evaluate(Module("pnasnet_tiny"), open_dataset("animals"))
        >>> [each.images > 0 for each in result.confusions[:1]]
        [True]
    """

    true: str
    predicted: str
    images: int


@dataclass(frozen=True)
class Mistake:
    """An image that was predicted as another class.

    Attributes:
        image: name of the image.
        true: the model's name of its class.
        predicted: the model's name of the predicted class.
        probability: probability of the predicted class.
        index: index of the image in the data.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.evaluation import evaluate
        >>> result = evaluate(Module("pnasnet_tiny"), open_dataset("animals"))
        >>> [each.image.startswith("animals/") for each in result.mistakes[:1]]
        [True]
    """

    image: str
    true: str
    predicted: str
    probability: float
    index: int


@dataclass(frozen=True)
class Evaluation:
    """The accuracy of a classifier on labelled images, and the conditions of the measurement.

    Attributes:
        model: name of the network.
        weights: origin of its weights.
        weights_sha256: checksum of its weights.
        preset: name of the preprocessing.
        exif: whether the EXIF orientation was applied.
        image_size: height and width of the network's input.
        precision: `float32`, `bfloat16`, `float16` or `int8`.
        engine: description of the engine.
        matching: one line on how the data's classes were matched to the logits.
        num_logits: the width of the classifier.
        images: number of images in the figures.
        failed: number of unreadable images.
        errors: the first few failures, one line each.
        top1: share of images whose class has the highest logit; among equal logits, the first class counts.
        top5: share of images whose class has one of the five highest logits; None for up to five classes.
        balanced_accuracy: mean recall of the classes that have images; None without images.
        most_frequent: top-1 accuracy of always predicting the most frequent class.
        per_class: figures of the data's classes, in order.
        confusions: wrong predictions by true and predicted class, most frequent first.
        mistakes: the wrong predictions with the highest probability, highest first.
        calibration: how often predictions are right, by their probability.
        published: published figures of these weights, if the data's classes are ImageNet's.
        seconds: duration.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.evaluation import evaluate
        >>> result = evaluate(Module("pnasnet_tiny"), open_dataset("animals"))
        >>> low, high = result.top1.interval
        >>> low < result.top1.value < high
        True
        >>> result.to_dict()["images"]
        60
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
    calibration: Calibration
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
            "calibration": self.calibration.to_dict(),
            "published": {"weights": published.id, "top1": published.top1, "top5": published.top5}
            if published
            else None,
        }
