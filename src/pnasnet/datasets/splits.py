"""Names of splits, such as train and validation, and choosing one of several."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from ..errors import InputError, UnknownNameError, choose_one_of

_T = TypeVar("_T")

MEANING = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
"""Maps names of splits to the names by which they are compared."""
_IN_A_NAME = re.compile(r"(?:^|[-_.])(train|validation|valid|val|test)(?=[-_.]|$)")


def choose(found: Mapping[str, _T], split: str | None, where: str) -> _T:
    """Return the value of `split` among the splits of `where`; `val`, `valid` and `validation` are the same.

    Raises:
        UnknownNameError: there is no such split.
        InputError: it is ambiguous, or none is named and there are several.
    """
    if split is None:
        if len(found) == 1:
            return next(iter(found.values()))
        raise InputError(f"{where!r} has several splits ({', '.join(sorted(found))}): choose one")
    meaning = MEANING.get(split, split)
    alike = [name for name in found if name == split] or [name for name in found if MEANING.get(name, name) == meaning]
    if not alike:
        raise UnknownNameError(f"{where!r} has no split {split!r}: {choose_one_of(sorted(found))}")
    if len(alike) > 1:
        raise InputError(f"{split!r} may mean {' or '.join(sorted(alike))} in {where!r}: use the full name")
    return found[alike[0]]


def choose_files(paths: Iterable[str], split: str | None, where: str) -> list[str]:
    """Return the files whose names contain `split`, as in `train-00000-of-00002.parquet`.

    If no name contains a split, all files are returned.

    Raises:
        InputError: as for `choose`; also if a split is named and no file name contains one, or only some do.
    """
    groups: dict[str, list[str]] = {}
    others: list[str] = []
    for path in paths:
        found = _IN_A_NAME.search(Path(path).name)
        (groups.setdefault(found[1], []) if found else others).append(path)
    if not groups:
        refuse(split, where)
        return others
    if others and split is None:
        raise InputError(
            f"{where!r} has files of the splits {', '.join(sorted(groups))} and files without a split, such as "
            f"{others[0]!r}: choose a split, or move the other files"
        )
    return choose(groups, split, where)


def refuse(split: str | None, where: str) -> None:
    """Raise `UnknownNameError` if a split is named although the source has none."""
    if split is not None:
        raise UnknownNameError(f"{where!r} has no splits: leave out the split {split!r}")
