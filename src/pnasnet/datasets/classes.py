"""Converts labels, which are numbers or names, to class indices."""

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..support import files

MAX_CLASSES = 1_000_000
"""Limit of numeric labels: without class names, every number up to the largest label becomes a class."""


def number_labels(
    labels: Sequence[int | str], names: Sequence[str], classes: tuple[str, ...] | None = None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the class index of each image, int64 [N], and the names of the classes.

    Args:
        labels: the label of each image; either all are indices or all are names of classes.
        names: names of the images, for errors.
        classes: names of the classes; None for the sorted labels, or for the numbers up to the largest label.

    Raises:
        InputError: labels are partly numbers and partly names, or one is not among the classes.
    """
    kind = str if labels and isinstance(labels[0], str) else int
    for name, label in zip(names, labels, strict=True):
        if not isinstance(label, kind):
            wanted = "names" if kind is str else "numbers"
            raise InputError(f"the label of {name!r} is {reprlib.repr(label)}, but others are {wanted}: use one kind")
    if kind is str:
        classes = tuple(sorted({str(label) for label in labels})) if classes is None else classes
        index_of = {name: index for index, name in enumerate(classes)}
        numbers = [index_of.get(str(label), -1) for label in labels]
        wanted = f"one of the {len(classes)} named classes"
    else:
        limit = MAX_CLASSES if classes is None else len(classes)
        numbers = [int(label) if 0 <= int(label) < limit else -1 for label in labels]
        wanted = f"a number from 0 to {limit - 1}"
    if -1 in numbers:
        row = numbers.index(-1)
        label = reprlib.repr(labels[row])
        raise InputError(f"the label of {names[row]!r} is {label}, not {wanted}: correct it, or remove the image")
    if classes is None:
        classes = tuple(str(index) for index in range(max(numbers, default=-1) + 1))
    return np.array(numbers, np.int64), classes


def check_classes(classes: Sequence[object], where: str) -> tuple[str, ...]:
    """Return class names if they are unique and not empty. Raises `InputError`, with their source `where`."""
    seen: set[str] = set()
    for name in classes:
        if not isinstance(name, str) or not name:
            raise InputError(f"{where} has {name!r} in place of a class name: write a name")
        if name in seen:
            raise InputError(f"{where} has the class {name!r} twice: class names must be unique")
        seen.add(name)
    return tuple(str(name) for name in classes)


def classes_beside(folder: Path) -> tuple[str, ...] | None:
    """Return the names in `classes.txt` (one a line) or `classes.json` (a list) in `folder`; None without either.

    Raises:
        InputError: the file cannot be read, or is not a list of unique names.
    """
    for path in (folder / "classes.txt", folder / "classes.json"):
        if not path.is_file():
            continue
        with files.reading(repr(str(path)), "make it readable, or remove it"):
            content = path.read_bytes()
        try:
            text = content.decode("utf-8")
            found = text.strip().splitlines() if path.suffix == ".txt" else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{str(path)!r} cannot be read ({error}): correct it, or remove it") from error
        if not isinstance(found, list) or not found:
            raise InputError(f"{str(path)!r} is not a list of class names: correct it, or remove it")
        return check_classes([name.strip() if isinstance(name, str) else name for name in found], repr(str(path)))
    return None
