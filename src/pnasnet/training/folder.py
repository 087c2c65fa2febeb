"""A training's folder: which recipe and pictures it is of, its checkpoints, and the figures of its epochs."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from ..support.files import replacing
from .recipe import Recipe

MODEL = "model.safetensors"
"""What a training's folder holds once it is finished."""
LOGS = "logs"
_RECIPE, _SKIPPED, _CHECKPOINTS = "recipe.json", "skipped.json", "checkpoints"
_EPOCH = re.compile(r"newest-epoch=(\d+)")
_SHOWN = 3


def claim(folder: Path, recipe: Recipe) -> None:
    """Make the folder the recipe's, or see that it is.

    Raises `InputError` where it holds another recipe's training, or a model that no training here has written;
    `OutputError` where it cannot be written.
    """
    path = folder / _RECIPE
    own = json.loads(json.dumps(recipe.to_dict()))
    with writing(folder):
        found = read_json(path)
        if found is None:
            if (folder / MODEL).exists():
                raise InputError(f"{folder} holds a model that is not of a training by recipe: give another folder")
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, own)
        elif found != own:
            raise InputError(
                f"{folder} holds a training with another recipe ({differences(found, own)}): give another folder"
            )


def differences(found: Any, own: Any) -> str:
    """Return which fields of two values from JSON differ, and how: `seed 0, now 1; ...`."""
    flat = [dict(_flatten(value)) for value in (found, own)]
    names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name)]
    shown = [f"{name} {_short(flat[0].get(name))}, now {_short(flat[1].get(name))}" for name in names[:_SHOWN]]
    return "; ".join(shown + ([f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []))


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for name, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{name}" if prefix else name)


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def read_skipped(folder: Path) -> dict[str, Any]:
    """Return what `write_skipped` wrote; empty if it did not."""
    found = read_json(folder / _SKIPPED)
    return found if isinstance(found, dict) else {}


def write_skipped(folder: Path, sets: dict[str, dict[str, Any]]) -> None:
    """Keep which pictures each set has, and which of them were left out. Raises as `claim`, also for other pictures.

    `sets` holds `training`, and `validation` where there is one: `Prepared.to_dict`.
    """
    before = read_skipped(folder)
    for name, own in sets.items():
        if name in before:
            _check_same(folder, name, before[name], own)
    with writing(folder):
        write_json(folder / _SKIPPED, sets)


def _check_same(folder: Path, purpose: str, known: dict[str, Any], own: dict[str, Any]) -> None:
    if known.get("sha256") != own["sha256"]:
        what = "a training on other pictures" if purpose == "training" else "a training with other pictures to validate"
        raise InputError(
            f"{folder} holds {what} ({known['pictures']:,} of other names or classes, now {own['pictures']:,}): "
            "give it those, or another folder"
        )
    if known["skipped"].keys() != own["skipped"].keys():
        name = min(known["skipped"].keys() ^ own["skipped"].keys())
        now = "can be read now, and could not" if name in known["skipped"] else "cannot be read now, and could"
        raise InputError(f"{name} {now} when the training in {folder} began: make it as it was, or give another folder")


# Checkpoints.


def newest_path(folder: Path, epoch: int) -> Path:
    """Return where the checkpoint after an epoch, counted from 0, is written."""
    return folder / _CHECKPOINTS / f"newest-epoch={epoch}.ckpt"


def best_path(folder: Path) -> Path:
    """Return where the checkpoint with the lowest validation loss is written."""
    return folder / _CHECKPOINTS / "best.ckpt"


def newest(folder: Path) -> Path | None:
    """Return the checkpoint after the last epoch that was completed, if there is one."""
    return max(_newest(folder), key=_epoch, default=None)


def remove_older(folder: Path) -> None:
    """Remove the checkpoints before the newest."""
    for path in sorted(_newest(folder), key=_epoch)[:-1]:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a run that was killed while it wrote a file has left of it."""
    for path in [*(folder / _CHECKPOINTS).glob(".*.ckpt"), *folder.glob(f".*.{MODEL}")]:
        path.unlink(missing_ok=True)


def _newest(folder: Path) -> list[Path]:
    return [path for path in (folder / _CHECKPOINTS).glob("newest-*.ckpt") if _EPOCH.match(path.name)]


def _epoch(path: Path) -> int:
    match = _EPOCH.match(path.name)
    return int(match[1]) if match else -1


# Figures.


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return the figures of each epoch, those of a run that was killed and of the one that went on put together.

    Each has `epoch`, from 0, the mean `loss` without L2 terms, the last `learning_rate`, and, where it was validated,
    `validation_loss` and `validation_top1`, in [0, 1], and with class weights `validation_recall`, the classes' mean.
    """
    epochs: dict[int, dict[str, float]] = {}
    for file in sorted((folder / LOGS).glob("version_*/metrics.csv"), key=_version):
        seen = set[int]()
        for row in _rows(file):
            epoch = int(row["epoch"])
            if epoch not in seen:  # of an epoch that was run twice, the second run counts
                epochs[epoch] = {}
                seen.add(epoch)
            epochs[epoch].update(row)
    return [epochs[number] for number in sorted(epochs)]


def _rows(file: Path) -> Iterator[dict[str, float]]:
    """Yield the rows; the last one of a killed run may be cut short, and is passed over."""
    with file.open(newline="") as lines:
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


# Files.


def read_json(path: Path) -> Any:
    """Return what is in a file, None if it is not there. Raises `InputError` if it is no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it, or give another folder") from error


def write_json(path: Path, value: Any) -> None:
    """Write a file, whole or not at all. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), "utf-8")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError into an `OutputError` about the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write to {folder}: {reason}; free some space, or give another folder") from error
