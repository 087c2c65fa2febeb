"""Splits, such as train and validation: what they are called, and choosing one of those that are there."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from ..errors import InputError

_T = TypeVar("_T")

_MEANING = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_IN_A_NAME = re.compile(r"(?:^|[-_.])(train|validation|valid|val|test)(?=[-_.]|$)")


def is_split(name: str) -> bool:
    """Whether a folder of this name may be a split."""
    return name in _MEANING


def split_of(path: str) -> str | None:
    """Return the split that a file's name tells, as `train-00000-of-00002.parquet` does; None where it tells none."""
    found = _IN_A_NAME.search(Path(path).name)
    return found.group(1) if found else None


def choose(found: Mapping[str, _T], split: str | None, where: str) -> _T:
    """Return that of the splits `found` in `where` which `split` names; `val` and `validation` are the same.

    Raises:
        InputError: it is not there, or none is named and there are several.
    """
    there = ", ".join(sorted(found))
    if split is None:
        if len(found) == 1:
            return next(iter(found.values()))
        raise InputError(f"{where!r} has the splits {there}: choose one of them as the split")
    alike = [name for name in found if name == split] or [name for name in found if _meaning(name) == _meaning(split)]
    if not alike:
        raise InputError(f"{where!r} has no split {split!r}, but {there}: choose one of these")
    if len(alike) > 1:
        raise InputError(f"{where!r} has {' and '.join(sorted(alike))}, so that {split!r} is not clear: name one")
    return found[alike[0]]


def choose_files(paths: Iterable[str], split: str | None, where: str) -> list[str]:
    """Return those of the files whose names tell `split`; all of them if no name tells any.

    Raises:
        InputError: as `choose`; also where a split is named and no file's name tells one, or where only some do.
    """
    groups: dict[str | None, list[str]] = {}
    for path in paths:
        groups.setdefault(split_of(path), []).append(path)
    others = groups.pop(None, [])
    named = {name: files for name, files in groups.items() if name is not None}
    if not named:
        refuse(split, where)
        return others
    if others and split is None:
        raise InputError(
            f"{where!r} has files of the splits {', '.join(sorted(named))}, and others such as {others[0]!r}: "
            "choose one of them as the split"
        )
    return choose(named, split, where)


def refuse(split: str | None, where: str) -> None:
    """Raise `InputError` if a split is named for what has none."""
    if split is not None:
        raise InputError(f"{where!r} has no splits, so that {split!r} is not there: leave the split out")


def _meaning(name: str) -> str:
    return _MEANING.get(name, name)
