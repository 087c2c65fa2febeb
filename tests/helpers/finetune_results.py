"""Results of fine-tunings made by hand, for the tests of the card and of the report."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from pnasnet.evaluation import Calibration, ClassFigures, Confusion, Evaluation, Mistake, Tally
from pnasnet.finetune.head import Head, Trial
from pnasnet.finetune.result import FinetuneResult

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
"""17 of 20 right; the third class has no images."""


def evaluation(
    classes: Sequence[str] = ("cat", "dog", "owl"), confusion: Sequence[Sequence[int]] = CONFUSION, **other: Any
) -> Evaluation:
    """Return an evaluation with the given numbers of images by true and predicted class."""
    counts = np.array(confusion)
    tally, calibration = Tally(len(counts)), Calibration()
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            scores = np.zeros((count, len(counts)), np.float32)
            scores[:, predicted] = 5
            for each in (tally, calibration):
                each.add(scores, np.full(count, true))
    values: dict[str, Any] = {
        "model": "pnasnet_tiny",
        "weights": "the-weights, fine-tuned",
        "weights_sha256": "0" * 64,
        "preset": "hub",
        "exif": False,
        "image_size": (32, 48),
        "precision": "float32",
        "engine": "fake",
        "matching": "by name",
        "num_logits": len(classes),
        "images": tally.count,
        "failed": 0,
        "errors": (),
        "top1": tally.top(1),
        "top5": tally.top(5) if len(classes) > 5 else None,
        "balanced_accuracy": tally.balanced_accuracy(),
        "most_frequent": tally.most_frequent(),
        "per_class": tuple(
            ClassFigures(name, name, label, tally.recall(label), tally.precision(label))
            for label, name in enumerate(classes)
        ),
        "confusions": tuple(Confusion(classes[t], classes[p], n) for t, p, n in tally.confusions()),
        "mistakes": (),
        "calibration": calibration,
        "published": None,
        "seconds": 0.0,
    }
    return Evaluation(**(values | other))


def result(
    classes: Sequence[str] = ("cat", "dog", "owl"),
    confusion: Sequence[Sequence[int]] = CONFUSION,
    mistakes: Sequence[Mistake] = (),
    **other: Any,
) -> FinetuneResult:
    """Return a result with those names and counts, and plain values for the rest."""
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
        "head": Head(np.zeros((4, count), np.float32), np.zeros(count, np.float32), TRIALS[1], TRIALS),
        "evaluation": evaluation(classes, confusion, mistakes=tuple(mistakes)),
        "part": "test",
        "head_top1": 0.8,
        "settings": {"seed": "7", "layer_decay": "0.8"},
        "seconds": {"features": 12.34, "classifier": 185.0},
    }
    return FinetuneResult(classes=tuple(classes), **(values | other))


def mistake(
    name: str = "cat/1.jpg", index: int = 0, true: str = "cat", predicted: str = "dog", probability: float = 0.987
) -> Mistake:
    """Return a cat that was predicted to be a dog."""
    return Mistake(name, true, predicted, probability, index)


def jpeg(width: int = 640, height: int = 400) -> bytes:
    """Return an image."""
    out = BytesIO()
    Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 60).convert("RGB").save(out, "JPEG")
    return out.getvalue()
