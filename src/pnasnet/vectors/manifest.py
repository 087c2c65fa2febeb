"""The manifest of an index, `index.json`: its parts and sizes. None of it is trusted."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import InputError
from ..support.files import read_json
from .features import PART_IDS, Features, Ids

MANIFEST = "index.json"
_MAX_JSON = 64 << 20

Parts = tuple[tuple[str, int, str], ...]
"""File name, number of rows, and fingerprint of each part, in the order in which they were added."""


@dataclass(frozen=True)
class Manifest:
    """The part of `index.json` that all kinds of indexes share.

    Attributes:
        length: F, the length of each vector.
        column: the column of vectors.
        parts: the parts in the index.
    """

    length: int
    column: str
    parts: Parts = ()


M = TypeVar("M", bound=Manifest)


def read_manifest(folder: Path, kind: type[M], version: int) -> M | None:
    """Return the manifest in a folder; None if there is none.

    The fields of `kind` are integers or tuples of integers, except for `column` and `parts`. Raises `InputError` if the
    manifest is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    if path.stat().st_size > _MAX_JSON:
        raise damaged(folder)
    content = read_json(path, "remove the folder, and build the index again with --index")
    if not isinstance(content, dict) or "version" not in content:
        raise damaged(folder)
    if content["version"] != version:
        raise InputError(
            f"{folder} is an index of version {content['version']!r}, not {version}: remove the folder, and build the "
            "index again with --index"
        )
    content.pop("metadata", None)  # written by earlier versions
    try:
        parts = tuple((str(name), int(rows), str(fingerprint)) for name, rows, fingerprint in content.pop("parts"))
        column = content.pop("column")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
        }
        manifest = kind(column=column, parts=parts, **values)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise damaged(folder) from error
    names = {field.name for field in fields(kind)} - {"column", "parts"}
    stored = [getattr(manifest, name) for name in names]
    numbers = [number for value in stored for number in (value if isinstance(value, tuple) else (value,))]
    if not isinstance(column, str) or not all(type(number) is int and number >= 0 for number in numbers):
        raise damaged(folder)
    return manifest


def check_belongs(folder: Path, manifest: Manifest, features: Features) -> None:
    """Raise `InputError` unless all parts in the index are parts of the features, unchanged."""
    present = {part.path.name: (part.rows, part.fingerprint) for part in features.parts}
    for name, rows, fingerprint in manifest.parts:
        if present.get(name) != (rows, fingerprint):
            change = "has changed" if name in present else "is gone"
            raise InputError(
                f"{folder} does not belong to {features.path}: {name} {change}; remove the folder, and build the index "
                "again with --index"
            )
    if (manifest.column, manifest.length) != (features.column, features.length):
        raise InputError(
            f"{folder} is an index of the column {manifest.column} with vectors of length {manifest.length}, not of "
            f"{features.column} with length {features.length}: remove the folder, and build the index again with "
            "--index"
        )


def new_parts(manifest: Manifest, features: Features) -> list[int]:
    """Return the numbers of the features' parts that the index lacks."""
    known = {name for name, *_ in manifest.parts}
    return [number for number, part in enumerate(features.parts) if part.path.name not in known]


def damaged(folder: Path) -> InputError:
    """Return the error for a damaged index."""
    return InputError(f"the index {folder} is damaged: remove the folder, and build the index again with --index")


class RowMap:
    """Maps the ids stored in an index, whose parts are in its own order, to ids of the features."""

    def __init__(self, folder: Path, features: Features, parts: Parts) -> None:
        numbers = {part.path.name: number for number, part in enumerate(features.parts)}
        self._folder, self._parts = folder, np.array([numbers[name] for name, *_ in parts], np.int64)
        self._rows = np.array([rows for _, rows, _ in parts], np.int64)

    def __call__(self, stored: Ids) -> Ids:
        """Return the ids of the features. Raises `InputError` for ids that do not exist."""
        numbers, rows = np.divmod(stored, PART_IDS)
        is_known = (numbers >= 0) & (numbers < len(self._parts))
        numbers = np.where(is_known, numbers, 0)
        if not (is_known & (rows < self._rows[numbers])).all():
            raise damaged(self._folder)
        return self._parts[numbers] * PART_IDS + rows
