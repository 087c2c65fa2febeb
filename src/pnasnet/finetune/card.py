"""What goes with a fine-tuned model: its card, and its figures for programs."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._version import __version__
from ..support.files import write_text
from ..support.text import clean, counted, duration, percent
from .outcome import Mistake, Outcome
from .wording import best_epoch, figures, interval, measured_on, worst_first

_NAMES, _ROWS = 100, 50
"""How many classes are named in a sentence, and in a table."""


def write_card(path: Path, outcome: Outcome) -> None:
    """Write the model card: Markdown with the header that Hugging Face reads. Raises `OutputError`."""
    write_text(path, "\n".join(_lines(outcome)) + "\n")


def metrics(outcome: Outcome) -> dict[str, Any]:
    """Return everything but the weights and the pictures for JSON: plain values, null for the share of nothing.

    Numbers that are not finite, which JSON has none of, are null as well.
    """
    tally, names = outcome.test, outcome.classes
    top5 = tally.top(5) if len(names) > 5 else None
    plain = {
        "pnasnet_version": __version__,
        "base": outcome.base,
        "base_weights": outcome.base_weights,
        "source": outcome.source,
        "command": outcome.command,
        "classes": list(names),
        "image_size": list(outcome.image_size),
        "preset": outcome.preset,
        "images": {part: int(counts.sum()) for part, counts in outcome.counts.items()},
        "measured_on": outcome.test_part,
        "top1": tally.top(1).to_dict(),
        "top5": top5.to_dict() if top5 else None,
        "balanced_accuracy": tally.balanced_accuracy(),
        "head_top1": outcome.head_top1,
        "tuned": outcome.tuned,
        "per_class": [_class_figures(outcome, label) for label in range(len(names))],
        "confusions": [
            {"true": names[true], "predicted": names[taken], "images": count}
            for true, taken, count in tally.confusions()
        ],
        "mistakes": [_mistake(outcome, mistake) for mistake in outcome.mistakes],
        "head": {"chosen": asdict(outcome.head.chosen), "trials": [asdict(trial) for trial in outcome.head.trials]},
        "history": outcome.history,
        "settings": dict(outcome.settings),
        "seconds": dict(outcome.seconds),
        "notes": outcome.notes,
        "skipped": outcome.skipped,
    }
    finite: dict[str, Any] = _finite(plain)
    return finite


def _class_figures(outcome: Outcome, label: int) -> dict[str, Any]:
    return {
        "name": outcome.classes[label],
        "images": {part: int(counts[label]) for part, counts in outcome.counts.items()},
        "recall": outcome.test.recall(label).to_dict(),
        "precision": outcome.test.precision(label).to_dict(),
    }


def _mistake(outcome: Outcome, mistake: Mistake) -> dict[str, Any]:
    return {
        "image": mistake.name,
        "true": outcome.classes[mistake.true],
        "predicted": outcome.classes[mistake.predicted],
        "probability": mistake.probability,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# The card.


def _lines(outcome: Outcome) -> Iterator[str]:
    yield from _header(outcome)
    yield from _about(outcome)
    yield from _measured(outcome)
    yield from _training(outcome)
    yield from _usage(outcome)


def _header(outcome: Outcome) -> Iterator[str]:
    # No licence: the base model's is known, but that of the pictures is the user's to say.
    published = outcome.base_weights if outcome.base_weights.startswith("timm/") else outcome.base
    yield from (
        "---",
        "tags:",
        "- image-classification",
        "- pnasnet",
        "pipeline_tag: image-classification",
        "library_name: pnasnet",
        f"base_model: {json.dumps(clean(published), ensure_ascii=False)}",  # JSON's strings are YAML's, too
        "---",
        "",
    )


def _about(outcome: Outcome) -> Iterator[str]:
    height, width = outcome.image_size
    yield f"# Classifier of {_classes(outcome)}"
    yield ""
    yield (
        f"{_escaped(outcome.base)}, fine-tuned on {_escaped(outcome.source)}. It takes pictures of {height} x {width} "
        f"pixels, preprocessed as `{outcome.preset}`, and gives each class a probability."
    )
    yield ""
    named = ", ".join(_escaped(name) for name in outcome.classes[:_NAMES])
    more = len(outcome.classes) - _NAMES
    yield f"Classes: {named}{f' and {more:,} more, all of them in metrics.json' if more > 0 else ''}."
    yield ""


def _classes(outcome: Outcome) -> str:
    return counted(len(outcome.classes), "class", "classes")


def _measured(outcome: Outcome) -> Iterator[str]:
    tally = outcome.test
    what = f"measured on {counted(tally.count, f'{outcome.test_part} picture')}"
    yield from _table((what, "value", "95 % interval"), figures(outcome))
    yield measured_on(outcome)
    yield ""
    labels = worst_first(tally)
    if len(labels) > _ROWS:
        yield f"The {_ROWS} classes with the lowest recall; all are in metrics.json:"
        yield ""
    rows = [
        (
            _escaped(outcome.classes[label]),
            f"{(recall := tally.recall(label)).count:,}",
            percent(recall.value, 1),
            interval(recall, 1),
            percent(tally.precision(label).value, 1),
        )
        for label in labels[:_ROWS]
    ]
    yield from _table(("class", f"{outcome.test_part} pictures", "recall", "95 % interval", "precision"), rows)


def _training(outcome: Outcome) -> Iterator[str]:
    yield from ("## How it was trained", "", *_fenced(clean(outcome.command), "sh"), "")
    counts = ", ".join(f"{int(counts.sum()):,} {part}" for part, counts in outcome.counts.items())
    yield (
        f"Pictures: {counts}. Which is which was decided by a hash of each picture's name, class by class, and is in "
        "splits.parquet."
    )
    yield ""
    chosen, trials = outcome.head.chosen, outcome.head.trials
    yield (
        f"The features of all pictures were extracted once by {_escaped(outcome.base)} with the weights "
        f"{_escaped(outcome.base_weights)}. Multinomial logistic regression was fitted to those of the training "
        f"pictures; of {counted(len(trials), 'strength')} of the L2 term that were tried, {chosen.strength:.3g} had "
        f"the lowest loss on the validation pictures, {chosen.validation_loss:.4f}, with top-1 "
        f"{percent(chosen.validation_top1)}."
    )
    yield ""
    if outcome.history:
        yield _tuning(outcome.history)
        yield ""
    for note in outcome.notes:
        yield f"- Note: {_escaped(note)}"
    if outcome.skipped:
        yield f"- {counted(len(outcome.skipped), 'picture')} could not be read and took no part."
    if outcome.notes or outcome.skipped:
        yield ""
    if outcome.settings:
        rows = [(_escaped(name.replace("_", " ")), _escaped(value)) for name, value in outcome.settings.items()]
        yield from _table(("setting", "value"), rows)
    if outcome.seconds:
        rows = [(_escaped(stage), duration(seconds)) for stage, seconds in outcome.seconds.items()]
        yield from _table(("stage", "time"), rows)


def _tuning(history: Sequence[dict[str, float]]) -> str:
    text = f"From there, the whole network was trained for {counted(len(history), 'epoch')}"
    if best := best_epoch(history):
        text += f"; the validation loss was lowest, {best['validation_loss']:.4f}, in epoch {int(best['epoch']) + 1}"
    return f"{text}."


def _usage(outcome: Outcome) -> Iterator[str]:
    yield from (
        "## How to use it",
        "",
        "`DIR` is the folder that holds this file.",
        "",
        *_fenced("pnasnet classify photo.jpg --model DIR", "sh"),
        "",
        *_fenced('import pnasnet\n\nmodule = pnasnet.Module("DIR")\nprint(module.classify("photo.jpg"))', "python"),
        "",
        "## What it is for",
        "",
        f"Telling {_classes(outcome)} apart in pictures like those that it was trained on. The figures were measured "
        "on such pictures, too; of other cameras, places or kinds of pictures they say nothing. It knows no other "
        "classes: of a picture of anything else it says what comes nearest, and may be sure of it. Where pictures of "
        "the same thing or the same moment lie in both the training and the measured part, the figures flatter it.",
    )


# Markdown.


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in a table, too."""
    text = re.sub(r"([\\`*\[\]|<>&~$])", r"\\\1", clean(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)  # within a word it means nothing


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _fenced(text: str, language: str) -> list[str]:
    """Return a block of code; its fence is longer than any row of backticks in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [f"{fence}{language}", text, fence]
