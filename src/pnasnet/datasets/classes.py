"""From labels as people write them, numbers or names, to the indices of classes."""

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError

MAX_CLASSES = 1_000_000
"""More are taken for damage: without names of its own, every number up to the largest label becomes a class."""


def number_labels(
    labels: Sequence[int | str], names: Sequence[str], classes: tuple[str, ...] | None = None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the index of each picture's class, [N] int64, and the names of the classes.

    Args:
        labels: of each picture, either all indices or all names of classes.
        names: what each picture is called, for errors.
        classes: the classes where they are known; else they are the sorted names, or the numbers up to the largest.

    Raises:
        InputError: a label is of the other kind than the first one, or is none of the classes.
    """
    kind = str if labels and isinstance(labels[0], str) else int
    for name, label in zip(names, labels, strict=True):
        if not isinstance(label, kind):
            wanted = "names" if kind is str else "numbers"
            raise InputError(
                f"{name!r} has the label {_short(label)}, where others have {wanted}: use one kind for all"
            )
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
        raise InputError(
            f"{names[row]!r} has the label {_short(labels[row])}, which is not {wanted}: correct it, or leave it out"
        )
    if classes is None:
        classes = tuple(str(index) for index in range(max(numbers, default=-1) + 1))
    return np.array(numbers, np.int64), classes


def check_classes(classes: Sequence[object], where: str) -> tuple[str, ...]:
    """Return `classes`, which were found in `where`, if each is a name of its own. Raises `InputError`."""
    seen: set[str] = set()
    for name in classes:
        if not isinstance(name, str) or not name or name in seen:
            problem = "twice" if isinstance(name, str) and name else "where a name belongs"
            raise InputError(f"{where} has the class {name!r} {problem}: give each class a name of its own")
        seen.add(name)
    return tuple(str(name) for name in classes)


def classes_beside(folder: Path) -> tuple[str, ...] | None:
    """Return the names in `classes.txt` (one a line) or `classes.json` (a list) in `folder`; None without either.

    Raises:
        InputError: the file cannot be read, or holds no list of names that differ.
    """
    for path in (folder / "classes.txt", folder / "classes.json"):
        if not path.is_file():
            continue
        try:
            text = path.read_text("utf-8")
            found = text.strip().splitlines() if path.suffix == ".txt" else json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{str(path)!r} cannot be read ({error}): mend it, or remove it") from error
        if not isinstance(found, list) or not found:
            raise InputError(f"{str(path)!r} is not a list of the names of classes: mend it, or remove it")
        return check_classes([name.strip() if isinstance(name, str) else name for name in found], repr(str(path)))
    return None


def _short(label: object) -> str:
    return reprlib.repr(label)
