"""What the tests of the card and of the report share: outcomes of fine-tunings, made by hand."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from pnasnet.evaluation import Tally
from pnasnet.finetune.head import Head, Trial
from pnasnet.finetune.outcome import Mistake, Outcome

TRIALS = [
    Trial(1.0, 20, 0.9, 0.95, 0.80),
    Trial(0.01, 40, 0.3, 0.45, 0.90),
    Trial(0.001, 30, 0.1, 0.55, 0.85),
]
"""Of which the second is the best."""

HISTORY = [
    {"epoch": 0.0, "loss": 0.8, "learning_rate": 0.01, "validation_loss": 0.5, "validation_top1": 0.9},
    {"epoch": 1.0, "loss": 0.4, "learning_rate": 0.005},
    {"epoch": 2.0, "loss": 0.2, "learning_rate": 0.0, "validation_loss": 0.25, "validation_top1": 0.95},
]
"""Of which the second epoch was not validated."""

CONFUSION = [[8, 2, 0], [1, 9, 0], [0, 0, 0]]
"""17 of 20 right; the third class has no pictures."""


def tally(confusion: Sequence[Sequence[int]]) -> Tally:
    """Return a tally of so many pictures by true and predicted class."""
    counts = np.array(confusion)
    result = Tally(len(counts), keep=True)
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            scores = np.zeros((count, len(counts)), np.float32)
            scores[:, predicted] = 5
            result.add(scores, np.full(count, true))
    return result


def outcome(
    classes: Sequence[str] = ("cat", "dog", "owl"), confusion: Sequence[Sequence[int]] = CONFUSION, **other: Any
) -> Outcome:
    """Return an outcome with those names and counts; what is not given has a plain value."""
    count = len(classes)
    values: dict[str, Any] = {
        "base": "pnasnet_tiny",
        "base_weights": "the-weights",
        "source": "pets/",
        "command": "pnasnet finetune pets/ -o model",
        "counts": {
            "training": np.arange(1, count + 1),
            "validation": np.full(count, 2),
            "test": np.array(confusion).sum(axis=1),
        },
        "image_size": (32, 48),
        "preset": "hub",
        "head": Head(np.zeros((4, count), np.float32), np.zeros(count, np.float32), TRIALS[1], TRIALS),
        "test_part": "test",
        "head_top1": 0.8,
        "settings": {"seed": "7", "layer_decay": "0.8"},
        "seconds": {"features": 12.34, "classifier": 185.0},
    }
    return Outcome(classes=tuple(classes), test=tally(confusion), **(values | other))


def mistake(name: str = "cat/1.jpg", picture: bytes | None = None, **other: Any) -> Mistake:
    """Return a cat that was taken for a dog."""
    return Mistake(
        name, jpeg() if picture is None else picture, **({"true": 0, "predicted": 1, "probability": 0.987} | other)
    )


def jpeg(width: int = 640, height: int = 400) -> bytes:
    """Return a picture."""
    out = BytesIO()
    Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 60).convert("RGB").save(out, "JPEG")
    return out.getvalue()
