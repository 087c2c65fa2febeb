"""The report of a fine-tuning: one HTML file with everything in it, which asks nothing of a network or of scripts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..evaluation import Tally
from ..images import get_preset
from ..reports.charts import Chart, Line, check_packages, draw
from ..reports.pages import data_url, render, thumbnail
from ..support.files import write_text
from ..support.text import NOTHING, counted, percent, tight
from .outcome import Mistake, Outcome
from .wording import best_epoch, figures, interval, measured_on, worst_first

MATRIX_CLASSES = 20
"""Up to so many classes have a confusion matrix that can be taken in at a glance."""

_CONFUSIONS, _SKIPPED = 40, 500
"""How many rows and lines are shown at most."""
_THUMBNAIL = 256
"""Pixels of a picture's longer side at most."""


def write_report(path: Path, outcome: Outcome) -> None:
    """Write the report, one self-contained HTML file.

    Raises:
        OutputError: it cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    check_packages()
    write_text(path, render("finetune_report.html", _values(outcome), {"strength": _strength}))


def _values(outcome: Outcome) -> dict[str, Any]:
    """Return what the template is filled with."""
    from markupsafe import Markup

    tally = outcome.test
    return {
        "outcome": outcome,
        "version": __version__,
        "interval": interval,
        "title": _title(outcome),
        "figures": figures(outcome),
        "worth": measured_on(outcome),
        "counts": {part: int(counts.sum()) for part, counts in outcome.counts.items()},
        "skipped": outcome.skipped[:_SKIPPED],
        # Not escaped: our own, and no names in them.
        "regularization": [Markup(svg) for svg in _regularization(outcome)],
        "learning": [Markup(svg) for svg in _learning(outcome)],
        "best": best_epoch(outcome.history),
        "matrix": _matrix(tally) if tally.classes <= MATRIX_CLASSES else None,
        "confusions": tally.confusions()[:_CONFUSIONS],
        "tally": tally,
        "order": worst_first(tally),
        "mistakes": [(mistake, _picture(mistake, outcome.preset)) for mistake in outcome.mistakes],
    }


def _title(outcome: Outcome) -> str:
    rate = outcome.test.top(1)
    pictures = counted(rate.count, f"{outcome.test_part} picture")
    if not rate.count:
        return f"Top-1 {NOTHING} on {pictures}"
    return tight(f"Top-1 {percent(rate.value)} (95 % interval {interval(rate)}) on {pictures}")


def _strength(value: float) -> str:
    return f"{value:.3g}"


def _regularization(outcome: Outcome) -> Iterator[str]:
    """Yield charts of the strengths that were tried."""
    trials, chosen = outcome.head.trials, outcome.head.chosen
    marked = f"chosen: {_strength(chosen.strength)}", chosen.strength
    losses = (
        Line("training", [(trial.strength, trial.training_loss) for trial in trials]),
        Line("validation", [(trial.strength, trial.validation_loss) for trial in trials], "two"),
    )
    label = f"Loss against strength; of the validation pictures {chosen.validation_loss:.4f} at the chosen strength."
    yield draw(Chart(losses, "strength", log=True, marked=marked), label, "strength-loss")
    top1 = [Line("validation", [(trial.strength, trial.validation_top1) for trial in trials], "two")]
    label = f"Validation top-1 against strength; {percent(chosen.validation_top1)} at the chosen strength."
    yield draw(Chart(top1, "strength", log=True, shares=True, marked=marked), label, "strength-top1")


def _learning(outcome: Outcome) -> Iterator[str]:
    """Yield the learning curves of the whole network; none without."""
    history = outcome.history
    if not history:
        return
    best = best_epoch(history)
    marked = ("lowest validation loss", best["epoch"] + 1) if best else None
    losses = (
        Line("training", _curve(history, "loss")),
        Line("validation", _curve(history, "validation_loss"), "two"),
    )
    yield draw(Chart(losses, "epoch", marked=marked), "Training and validation loss of each epoch.", "epoch-loss")
    top1 = [Line("validation", _curve(history, "validation_top1"), "two")]
    level = "classifier alone", outcome.head.chosen.validation_top1
    chart = Chart(top1, "epoch", shares=True, marked=marked, level=level)
    yield draw(chart, "Validation top-1 of each epoch.", "epoch-top1")


def _curve(history: list[dict[str, float]], figure: str) -> list[tuple[float, float]]:
    """Return the points of a figure, which not every epoch need have."""
    return [(epoch["epoch"] + 1, epoch[figure]) for epoch in history if figure in epoch]


def _matrix(tally: Tally) -> list[list[tuple[int, float]]]:
    """Return, for each true and predicted class, the pictures and their share of the true class."""
    sums = np.maximum(tally.confusion.sum(axis=1), 1)
    return [
        [(int(count), float(count / total)) for count in row] for row, total in zip(tally.confusion, sums, strict=True)
    ]


def _picture(mistake: Mistake, preset: str) -> str | None:
    """Return a picture as a data URL; None where it cannot be decoded any more.

    It is turned upright only where the model's preprocessing does so: one that lies on its side here did so for the
    model, too, which may be why it was mistaken.
    """
    return data_url(thumbnail(mistake.picture, _THUMBNAIL, exif=get_preset(preset).exif))
