"""What came of an evaluation, as one value."""

from dataclasses import asdict, dataclass
from typing import Any

from .._version import __version__
from ..architecture.zoo import PublishedWeights
from .metrics import Rate


@dataclass(frozen=True)
class ClassFigures:
    """How one of the data's classes fared.

    Attributes:
        name: what the data calls it.
        label: what the model calls it.
        logit: its index among the logits.
        recall: of its pictures, those recognised.
        precision: of the pictures taken for it, those that were such.
    """

    name: str
    label: str
    logit: int
    recall: Rate
    precision: Rate

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "logit": self.logit,
            "recall": self.recall.to_dict(),
            "precision": self.precision.to_dict(),
        }


@dataclass(frozen=True)
class Confusion:
    """How many pictures of one class were taken for another; both as the model calls them."""

    true: str
    predicted: str
    images: int


@dataclass(frozen=True)
class Mistake:
    """A picture that was taken for another class; both as the model calls them."""

    image: str
    true: str
    predicted: str
    probability: float
    """What the network gave the predicted class."""


@dataclass(frozen=True)
class Evaluation:
    """How often a classifier was right, and on what terms.

    Attributes:
        model: the network's name.
        weights: where its weights come from.
        weights_sha256: their checksum.
        preset: the preprocessing.
        exif: whether the EXIF orientation was applied.
        image_size: height and width of the network's input.
        precision: `float32` or `bfloat16`.
        engine: what the network ran on.
        matching: one line that says how the data's classes met the logits.
        num_logits: the width of the classifier.
        images: how many pictures the figures are of.
        failed: how many more could not be read.
        errors: what the first few failures were, a line each.
        top1: of the pictures, those whose class got the highest score; of equal scores the first class counts.
        top5: those whose class was among the five highest; None where there are no more than five classes.
        balanced_accuracy: the mean recall of the classes that have pictures.
        per_class: the data's classes, in its order.
        confusions: which classes were taken for which, the most frequent first; all mistakes are in it.
        mistakes: the surest mistakes.
        published: the figures published for these weights, if the data's classes are ImageNet's.
        seconds: how long it took.
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
    balanced_accuracy: float
    per_class: tuple[ClassFigures, ...]
    confusions: tuple[Confusion, ...]
    mistakes: tuple[Mistake, ...]
    published: PublishedWeights | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON: plain values, and null for the share of nothing."""
        own = {name: getattr(self, name) for name in _PLAIN}
        published = self.published
        return {
            "pnasnet_version": __version__,
            **own,
            "image_size": list(self.image_size),
            "errors": list(self.errors),
            "top1": self.top1.to_dict(),
            "top5": self.top5.to_dict() if self.top5 else None,
            "per_class": [each.to_dict() for each in self.per_class],
            "confusions": [asdict(each) for each in self.confusions],
            "mistakes": [asdict(each) for each in self.mistakes],
            "published": {"weights": published.id, "top1": published.top1, "top5": published.top5}
            if published
            else None,
        }


_PLAIN = (
    "model", "weights", "weights_sha256", "preset", "exif", "image_size", "precision", "engine", "matching",
    "num_logits", "images", "failed", "errors", "top1", "top5", "balanced_accuracy", "seconds",
)  # fmt: skip
