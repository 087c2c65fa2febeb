"""Writes the report of a fine-tuning: one self-contained HTML file without scripts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import ImageError, InputError
from ..evaluation import Evaluation
from ..images import Source, get_preset
from ..reports import charts
from ..reports.charts import Chart, Line, draw
from ..reports.pages import data_url, render, small_jpeg
from ..support.files import write_text
from ..support.text import NOTHING, counted, percent, tight
from . import head
from .result import FinetuneResult, interval

MATRIX_CLASSES = 20
"""Maximum number of classes for a confusion matrix; for more, confusions are listed."""

_CONFUSIONS, _MISTAKES, _SKIPPED = 40, 24, 500
"""Maximum numbers of confusions, images and skipped images."""
_THUMBNAIL = 256
"""Maximum of an image's longer side, in pixels."""


def check_packages() -> None:
    """Raise `MissingExtraError` if a package of the extra is missing. Called before any work, which may take hours."""
    head.check_packages()
    charts.check_packages("finetune")


def write_report(path: Path, result: FinetuneResult, read: Callable[[int], Source]) -> None:
    """Write the report.

    Args:
        path: the file.
        result: the figures.
        read: returns an image of the evaluated part by its index.

    Raises:
        OutputError: it cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    check_packages()
    write_text(path, render("finetune_report.html", _values(result, read), {"strength": _strength}))


def _values(result: FinetuneResult, read: Callable[[int], Source]) -> dict[str, Any]:
    from markupsafe import Markup

    evaluation = result.evaluation
    return {
        "result": result,
        "evaluation": evaluation,
        "version": __version__,
        "interval": interval,
        "title": _title(result),
        "counts": {part: int(counts.sum()) for part, counts in result.counts.items()},
        "training": dict(zip(result.classes, result.counts["training"].tolist(), strict=True)),
        "skipped": result.skipped[:_SKIPPED],
        # Not escaped: drawn here, without text from outside.
        "regularization": [Markup(svg) for svg in _regularization(result)],
        "reliability": Markup(_reliability(evaluation)),
        "learning": [Markup(svg) for svg in _learning(result)],
        "best": result.best_epoch(),
        "matrix": _matrix(evaluation) if len(result.classes) <= MATRIX_CLASSES else None,
        "confusions": evaluation.confusions[:_CONFUSIONS],
        "pictures_of": {each.label: each.recall.count for each in evaluation.per_class},
        "mistakes": [
            (mistake, _picture(read, mistake.index, evaluation.preset)) for mistake in evaluation.mistakes[:_MISTAKES]
        ],
    }


def _title(result: FinetuneResult) -> str:
    rate = result.evaluation.top1
    pictures = counted(rate.count, f"{result.part} image")
    if not rate.count:
        return f"Top-1 {NOTHING} on {pictures}"
    return tight(f"Top-1 {percent(rate.value)} (95 % interval {interval(rate)}) on {pictures}")


def _strength(value: float) -> str:
    return f"{value:.3g}"


def _regularization(result: FinetuneResult) -> Iterator[str]:
    trials, chosen = result.head.trials, result.head.chosen
    marked = f"chosen: {_strength(chosen.strength)}", chosen.strength
    losses = (
        Line("training", [(trial.strength, trial.training_loss) for trial in trials]),
        Line("validation", [(trial.strength, trial.validation_loss) for trial in trials], "two"),
    )
    label = f"Loss against strength; {chosen.validation_loss:.4f} on the validation images at the chosen strength."
    yield draw(Chart(losses, "strength", log=True, marked=marked), label, "strength-loss")
    top1 = [Line("validation", [(trial.strength, trial.validation_top1) for trial in trials], "two")]
    label = f"Validation top-1 against strength; {percent(chosen.validation_top1)} at the chosen strength."
    yield draw(Chart(top1, "strength", log=True, shares=True, marked=marked), label, "strength-top1")


def _learning(result: FinetuneResult) -> Iterator[str]:
    """Yield the learning curves of the whole network, if it was trained."""
    history = result.history
    if not history:
        return
    best = result.best_epoch()
    marked = ("lowest validation loss", best["epoch"] + 1) if best else None
    losses = (
        Line("training", _curve(history, "loss")),
        Line("validation", _curve(history, "validation_loss"), "two"),
    )
    yield draw(Chart(losses, "epoch", marked=marked), "Training and validation loss of each epoch.", "epoch-loss")
    top1 = [Line("validation", _curve(history, "validation_top1"), "two")]
    level = "classifier alone", result.head.chosen.validation_top1
    chart = Chart(top1, "epoch", shares=True, marked=marked, level=level)
    yield draw(chart, "Validation top-1 of each epoch.", "epoch-top1")


def _reliability(evaluation: Evaluation) -> str:
    """Return the reliability diagram: the share of right predictions against their mean probability."""
    bins = [(each.confidence, each.accuracy) for each in evaluation.calibration.bins() if each.confidence is not None]
    measured = [(confidence, rate.value or 0.0) for confidence, rate in bins]
    lines = (
        Line("calibrated", [(0.0, 0.0), (1.0, 1.0)], "two", "plain"),
        Line("measured", measured, "one", "marked", [(x, *rate.interval) for x, rate in bins]),
    )
    chart = Chart(lines, "probability of the predicted class", shares="both", up="right")
    words = "; ".join(f"{percent(accuracy, 0)} right at {percent(mean, 0)}" for mean, accuracy in measured)
    return draw(chart, f"Share of right predictions against their probability: {words}.", "reliability")


def _curve(history: Sequence[dict[str, float]], figure: str) -> list[tuple[float, float]]:
    """Return the points of a figure, which some epochs may lack."""
    return [(epoch["epoch"] + 1, epoch[figure]) for epoch in history if figure in epoch]


def _matrix(evaluation: Evaluation) -> list[list[tuple[int, float]]]:
    """Return, for each true and predicted class, the number of images and their share of the true class."""
    place = {each.label: index for index, each in enumerate(evaluation.per_class)}
    counts = np.diag([each.recall.hits for each in evaluation.per_class])
    for confusion in evaluation.confusions:
        counts[place[confusion.true], place[confusion.predicted]] = confusion.images
    sums = np.maximum(counts.sum(axis=1), 1)
    return [[(int(count), float(count / total)) for count in row] for row, total in zip(counts, sums, strict=True)]


def _picture(read: Callable[[int], Source], index: int, preset: str) -> str | None:
    """Return an image as a data URL; None if it can no longer be decoded.

    Its EXIF orientation is applied only if the model's preprocessing applies it, so the page shows the network's input.
    """
    try:
        return data_url(small_jpeg(read(index), _THUMBNAIL, exif=get_preset(preset).exif))
    except (ImageError, InputError, OSError):
        return None
