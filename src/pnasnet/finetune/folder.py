"""The files of a fine-tuned model's folder, and the order in which they are written."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import resolve
from ..datasets import LabelledImages
from ..errors import InputError, OutputError
from ..extract.folder import FeatureFolder
from ..images import Source
from ..module.open import Model, metadata
from ..support.files import read_json, reading, write_text, writing
from ..support.text import differences, first_of
from ..training.folder import MODEL
from ..training.machine import Machine
from ..weights import write_weights
from .card import write_card
from .options import FinetuneOptions
from .report import check_packages, write_report
from .result import FinetuneResult

SPLITS, FEATURES, TRAINING, METRICS = "splits.parquet", "features", "training", "metrics.json"
"""`SPLITS` is the first file that a run writes; it identifies the folder of a fine-tuned model."""
CANDIDATE = "unmeasured.safetensors"
"""The model's file until it is evaluated, so that it is not mistaken for a finished model."""

Variables = Mapping[str, NDArray[np.float32]]


def check_folder(folder: Path) -> None:
    """Raise `OutputError` if the path is not a folder, or the folder has files but is not a fine-tuned model's."""
    with reading(folder, kind=OutputError):
        names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in names if name[0] != "."]
    if others and SPLITS not in others:
        raise OutputError(f"{folder} holds other files ({others[0]}): choose a new or an empty folder")


def check_start(data: LabelledImages, folder: Path, options: FinetuneOptions, machine: Machine) -> int:
    """Check arguments and packages before any work, and return the rank of this process. Raises like `finetune`."""
    check_packages()
    rank = 0
    if options.full:
        from .full import check_machine

        rank = check_machine(machine)
        machine.check_batch(options.training_batch, freeze_batch_norm=not options.train_batch_norm)
    if len(data.classes) < 2:
        raise InputError(f"a classifier distinguishes at least two classes; the data has {len(data.classes)}")
    check_folder(folder)
    return rank


class FinishedError(OutputError):
    """The folder holds the finished model of the same run. `skipped` is the number of images it could not read.

    Example:
        >>> from pnasnet.datasets import open_dataset
        >>> from pnasnet.finetune import finetune
        >>> data = open_dataset("animals")
        >>> model = finetune("pnasnet_tiny", data, "model", overwrite=True)
        >>> finetune("pnasnet_tiny", data, "model")
        Traceback (most recent call last):
            ...
        pnasnet.finetune.folder.FinishedError: ...
    """

    skipped = 0


def check_finished(folder: Path, features: Mapping[str, str], data: LabelledImages, options: FinetuneOptions) -> None:
    """Raise `FinishedError` for the finished model of the same run, and `OutputError` for that of another run.

    Runs are the same if the settings of their features, their options, classes and numbers of images are equal.
    """
    if not (folder / MODEL).exists():
        return
    recorded = read_json(folder / METRICS, "choose another folder, or overwrite it (--overwrite)")
    try:
        skipped = len(recorded["skipped"])
        images = sum(map(sum, recorded["images"].values())) + skipped
        old = {**recorded["settings"], "classes": recorded["classes"], "images": images}
    except (TypeError, KeyError, AttributeError):
        skipped, old = 0, {}
    new = {**asdict(options), "classes": list(data.classes), "images": len(data)}
    changed = FeatureFolder(folder / FEATURES).differences(features)
    changed += differences(*({name: str(each[name]) for name in new if name in each} for each in (old, new)))
    if changed:
        made = f"of other settings ({first_of(sorted(changed), 5)})" if old else "of an earlier version"
        raise OutputError(
            f"{folder} holds a finished model {made}: choose another folder, or overwrite it (--overwrite)"
        )
    error = FinishedError(f"{folder} is already complete; overwrite it to start over (--overwrite)")
    error.skipped = skipped
    raise error


def write_candidate(folder: Path, base: Model, variables: Variables, classes: tuple[str, ...], preset: str) -> Path:
    """Write the base model with the trained variables, and return the file. Raises `OutputError`."""
    path = folder / CANDIDATE
    plan = resolve(replace(base.spec, num_classes=len(classes)))
    kept = {name: base.arrays()[name] for name in plan.variables() if name not in variables}
    model = Model(base.name, plan, None, (), f"{base.origin}, fine-tuned", classes, preset)
    write_weights(path, {**kept, **variables}, **metadata(model))
    return path


def finish(folder: Path, result: FinetuneResult, read: Callable[[int], Source]) -> None:
    """Write figures, card and report, then rename the candidate to `model.safetensors`.

    Args:
        folder: the folder, with the candidate.
        result: the figures.
        read: returns an image of the evaluated part by its index.

    Raises:
        OutputError: a file cannot be written.
    """
    with writing(folder):
        # If this is interrupted, an old model must not be beside new figures.
        (folder / MODEL).unlink(missing_ok=True)
    write_text(folder / METRICS, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
    write_card(folder / "README.md", result)
    write_report(folder / "report.html", result, read)
    with writing(folder):
        (folder / CANDIDATE).replace(folder / MODEL)
