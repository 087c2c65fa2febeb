"""The files of a fine-tuned model's folder, and their order."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import resolve
from ..errors import OutputError
from ..module.open import Model, metadata
from ..support.files import replacing
from ..training.folder import MODEL
from ..weights import write_weights
from .card import metrics, write_card
from .outcome import Outcome
from .report import write_report

SPLITS = "splits.parquet"
"""The first file that a run writes: by it a folder is known to be of a fine-tuning."""

Variables = Mapping[str, NDArray[np.float32]]


def make_folder(folder: Path) -> None:
    """Create it, unless it is there. Raises `OutputError` where that cannot be, or what is in it is somebody else's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    if others and SPLITS not in others:
        raise OutputError(f"{folder} holds other things ({others[0]}): name a new folder, or an empty one")


def write_folder(folder: Path, outcome: Outcome, base: Model, variables: Variables) -> None:
    """Write figures, card and report, and the model last. Raises `OutputError`."""
    try:
        # An old model must not be found beside new figures, should the writing be cut short.
        (folder / MODEL).unlink(missing_ok=True)
        with replacing(folder / "metrics.json") as temporary:
            temporary.write_text(json.dumps(metrics(outcome), indent=1, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
    write_card(folder / "README.md", outcome)
    write_report(folder / "report.html", outcome)
    write_model(folder / MODEL, base, variables, outcome.classes, outcome.preset)


def write_model(path: Path, base: Model, variables: Variables, classes: tuple[str, ...], preset: str) -> None:
    """Write the base model's variables with those in `variables` in their place. Raises `OutputError`."""
    plan = resolve(replace(base.spec, num_classes=len(classes)))
    kept = {name: base.arrays()[name] for name in plan.variables() if name not in variables}
    model = Model(base.name, plan, None, (), f"{base.origin}, fine-tuned", classes, preset)
    write_weights(path, {**kept, **variables}, **metadata(model))
