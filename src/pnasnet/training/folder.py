"""A training's folder: its recipe, its images, its checkpoints, and the figures of its epochs."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..support.files import read_json, reading, write_json, writing
from ..support.text import differences, first_of
from .recipe import Recipe

MODEL = "model.safetensors"
"""File with the averaged weights, written last."""
LOGS = "logs"
_RECIPE, _SKIPPED, _CHECKPOINTS = "recipe.json", "skipped.json", "checkpoints"
_EPOCH = re.compile(r"newest-epoch=(\d+)")


def claim(folder: Path, recipe: Recipe) -> None:
    """Create the folder for a recipe's training, or check that it holds this recipe's.

    Raises `InputError` if it holds another recipe's training or another model, and `OutputError` if it cannot be
    written.
    """
    path = folder / _RECIPE
    own = json.loads(json.dumps(recipe.to_dict()))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = read_json(path)
        if found is not None and found != own:
            raise InputError(
                f"{folder} holds a training with another recipe ({first_of(differences(found, own))}): choose another "
                "folder"
            )
        if found is None:
            if (folder / MODEL).exists():
                raise InputError(f"{folder} holds a model that `pnasnet train` did not write: choose another folder")
            write_json(path, own)


def read_skipped(folder: Path) -> dict[str, Any]:
    """Return the record of `write_skipped`; empty if there is none."""
    found = read_json(folder / _SKIPPED)
    return found if isinstance(found, dict) else {}


def write_skipped(folder: Path, sets: dict[str, dict[str, Any]]) -> None:
    """Record the images of each set, and which of them are left out.

    `sets` holds `PreparedSet.to_dict()` of `training`, and of `validation` if there is one. Raises `InputError` if the
    folder's training had other images, and `OutputError`.
    """
    before = read_skipped(folder)
    for name, own in sets.items():
        if name in before:
            _check_same(folder, name, before[name], own)
    write_json(folder / _SKIPPED, sets)


def _check_same(folder: Path, purpose: str, known: dict[str, Any], own: dict[str, Any]) -> None:
    if known.get("sha256") != own["sha256"]:
        what = "a training on other images" if purpose == "training" else "a training with other images to validate"
        raise InputError(
            f"{folder} holds {what} ({known['pictures']:,} then, {own['pictures']:,} now; names or classes differ): "
            "use the same images, or choose another folder"
        )
    if known["skipped"].keys() != own["skipped"].keys():
        name = min(known["skipped"].keys() ^ own["skipped"].keys())
        now = "can be read now, but could not" if name in known["skipped"] else "cannot be read now, but could"
        raise InputError(f"{name} {now} when the training in {folder} started: restore it, or choose another folder")


# Checkpoints.


def newest_path(folder: Path, epoch: int) -> Path:
    """Return the path of the checkpoint after an epoch, counted from 0."""
    return folder / _CHECKPOINTS / f"newest-epoch={epoch}.ckpt"


def best_path(folder: Path) -> Path:
    """Return the path of the checkpoint with the lowest validation loss."""
    return folder / _CHECKPOINTS / "best.ckpt"


def newest(folder: Path) -> Path | None:
    """Return the checkpoint of the last whole epoch, or None."""
    return next(reversed(_epoch_checkpoints(folder)), None)


def remove_older(folder: Path) -> None:
    """Remove the checkpoints of all epochs except the newest."""
    for path in _epoch_checkpoints(folder)[:-1]:
        path.unlink(missing_ok=True)


def _epoch_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of epochs, oldest first."""
    paths = (folder / _CHECKPOINTS).glob("newest-*.ckpt")
    found = {int(match[1]): path for path in paths if (match := _EPOCH.match(path.name))}
    return [found[epoch] for epoch in sorted(found)]


# Figures.


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the figures of each epoch, over all runs of a training that was interrupted and resumed.

    Each epoch has `epoch`, from 0, the mean `loss` without L2 terms, and the last `learning_rate`. A validated epoch
    also has `validation_loss`, `validation_top1` in [0, 1], and with class weights `validation_recall`, the mean over
    the classes. Raises `InputError` if a file cannot be read.
    """
    epochs: dict[int, dict[str, float]] = {}
    for file in sorted((folder / LOGS).glob("version_*/metrics.csv"), key=_version):
        seen = set[int]()
        for row in _rows(file):
            epoch = int(row["epoch"])
            if epoch not in seen:  # the last run of an epoch counts
                epochs[epoch] = {}
                seen.add(epoch)
            epochs[epoch].update(row)
    return [epochs[number] for number in sorted(epochs)]


def _rows(file: Path) -> Iterator[dict[str, float]]:
    """Yield the rows. A truncated last row, of a killed run, is skipped; its epoch is run again."""
    with reading(file), file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            try:
                figures = {name: float(value) for name, value in row.items() if value and name != "step"}
            except (TypeError, ValueError):
                continue
            if "epoch" in figures and len(figures) > 1:
                yield figures


def _version(file: Path) -> int:
    number = file.parent.name.removeprefix("version_")
    return int(number) if number.isdecimal() else -1
