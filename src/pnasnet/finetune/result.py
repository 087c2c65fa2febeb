"""The result of a fine-tuning, for its card, report and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..evaluation import ClassFigures, Evaluation, Rate
from ..support.text import NOTHING, percent
from .head import Head


@dataclass(frozen=True)
class FinetuneResult:
    """The result of a fine-tuning.

    Attributes:
        base: the name of the model that it started from.
        base_weights: the origin of that model's weights.
        source: the images, as the user named them.
        command: the command that repeats the run.
        classes: the names of the classes.
        counts: the number of images of each class, [C] int64, by part (training, validation, test).
        head: the classifier on fixed features, and how its regularization was chosen.
        evaluation: of the written model, on the test images; without test images, on the validation images.
        part: "test" or "validation", the part used for `evaluation`.
        head_top1: the top-1 of the classifier on fixed features, on the same images.
        tuned: whether the whole network was trained and kept, instead of the classifier alone.
        history: the figures of each epoch of training the whole network; empty without it.
        skipped: the images that could not be read, a line each.
        notes: sentences about the choices made, such as a classifier that was replaced.
        settings: the options, by name.
        seconds: the duration of each stage.
        rank: rank of this process. With several devices, only rank 0 measures and writes the model, and only it should
            print.

    Example:
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.finetune import finetune
        >>> result = finetune("pnasnet_tiny", open_dataset("animals"), "model", overwrite=True)
        >>> result.part, result.evaluation.images, result.tuned
        ('test', 9, False)
        >>> result.figures()[0][0], result.worth()
        ('top-1', 'The test images were used neither for training nor for any choice.')
        >>> worst = result.worst_first()[0]
        >>> worst.recall.value == min(each.recall.value for each in result.evaluation.per_class)
        True
        >>> result.best_epoch() is None, result.to_dict()["part"]  # the whole network was not trained
        (True, 'test')
    """

    base: str
    base_weights: str
    source: str
    command: str
    classes: tuple[str, ...]
    counts: Mapping[str, NDArray[np.int64]]
    head: Head
    evaluation: Evaluation
    part: str
    head_top1: float
    tuned: bool = False
    history: Sequence[dict[str, float]] = ()
    skipped: Sequence[str] = ()
    notes: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rank: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON, without the weights; undefined numbers are null."""
        plain = {
            "pnasnet_version": __version__,
            **{name: getattr(self, name) for name in _PLAIN},
            "images": {part: counts.tolist() for part, counts in self.counts.items()},
            "evaluation": self.evaluation.to_dict(),
            "head": {"chosen": asdict(self.head.chosen), "trials": [asdict(trial) for trial in self.head.trials]},
        }
        finite: dict[str, Any] = _finite(plain)
        return finite

    # Values for the card and the report.

    def figures(self) -> list[tuple[str, str, str]]:
        """Return (name, value, 95 % interval) of each overall figure."""
        evaluation = self.evaluation
        rates = [("top-1", evaluation.top1)]
        if evaluation.top5:
            rates.append(("top-5", evaluation.top5))
        rows = [(what, f"{percent(r.value)} ({r.hits:,} of {r.count:,})", interval(r)) for what, r in rates]
        rows.append(("mean recall of the classes", percent(evaluation.balanced_accuracy), ""))
        if self.history:
            rows.append(("top-1 of the classifier on fixed features", percent(self.head_top1), ""))
        rows.append(("top-1 of always predicting the most frequent class", percent(evaluation.most_frequent.value), ""))
        return rows

    def worth(self) -> str:
        """Return a sentence on the reliability of the figures."""
        if self.part == "test":
            return "The test images were used neither for training nor for any choice."
        return (
            "There were no test images. The figures are of the validation images, which also chose the classifier, so "
            "they are too favourable."
        )

    def worst_first(self) -> list[ClassFigures]:
        """Return the classes by recall, the lowest first; those without images come last."""
        return sorted(self.evaluation.per_class, key=lambda each: (each.recall.value is None, each.recall.value or 0.0))

    def best_epoch(self) -> dict[str, float] | None:
        """Return the epoch with the lowest validation loss; None if no epoch was validated."""
        seen = [epoch for epoch in self.history if np.isfinite(epoch.get("validation_loss", np.nan))]
        return min(seen, key=lambda epoch: epoch["validation_loss"], default=None)


_PLAIN = (
    "base", "base_weights", "source", "command", "classes", "part", "head_top1", "tuned", "history", "skipped",
    "notes", "settings", "seconds",
)  # fmt: skip


def interval(rate: Rate, digits: int = 2) -> str:
    """Return a rate's 95 % interval as `91.02 to 94.90 %`."""
    low, high = rate.interval
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %" if rate.count else NOTHING


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
