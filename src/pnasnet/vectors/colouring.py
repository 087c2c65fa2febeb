"""Values by which the points of a map can be coloured: the images' folders, and other columns of the table."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..support.paths import common_folder
from ..support.text import clean
from .features import Features, Ids
from .parts import STATUS

MAX_GROUPS = 12
"""Limit of groups, each with its own colour; the last one, "other", collects the rest."""

_NOT_SHOWN = {STATUS, "error"}
_OTHER, _NONE = "other", "none"


@dataclass(frozen=True)
class Colouring:
    """A value for each of M points.

    Attributes:
        name: the name of the column, or "folder".
        values: the index of each point's group, uint8 [M]; or numbers, float32 [M], NaN if missing.
        groups: the names of the groups, largest first; empty if the values are numbers.
    """

    name: str
    values: NDArray[Any]
    groups: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the colouring for a page: names cleaned, and the values, little-endian, in base64."""
        kind = "u1" if self.groups else "<f4"
        encoded = base64.b64encode(np.ascontiguousarray(self.values, kind).tobytes()).decode()
        return {"name": clean(self.name), "groups": [clean(group) for group in self.groups], "values": encoded}


def colourings(features: Features, ids: Ids, paths: Sequence[str]) -> list[Colouring]:
    """Return colourings by folder, and by each column of text, numbers or booleans, unless all values are equal.

    Args:
        features: the table of the images.
        ids: the images' rows, [M].
        paths: the images' paths.
    """
    found = [_grouped("folder", _folders(paths))]
    columns = _columns(features)
    for name, values in zip(columns, features.columns(ids, columns), strict=True):
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if numbers and len(set(numbers)) > MAX_GROUPS:
            found.append(Colouring(name, np.array([np.nan if value is None else value for value in values], "<f4")))
        else:
            found.append(_grouped(name, [_NONE if value is None else str(value) for value in values]))
    return [each for each in found if len(each.groups) != 1]


def _folders(paths: Sequence[str]) -> list[str]:
    """Return the folder of each path, relative to the folder that all paths have in common."""
    common = len(common_folder(paths))
    return [path[common:].rpartition("/")[0] or "." for path in paths]


def _columns(features: Features) -> list[str]:
    """Return the columns of text, numbers or booleans that all parts have, except path, status and error."""
    shared: list[str] = []
    for number, part in enumerate(features.parts):
        fields = pq.read_schema(part.path)
        names = [
            field.name for field in fields if _is_plain(field.type) and field.name not in (*_NOT_SHOWN, part.names)
        ]
        shared = names if number == 0 else [name for name in shared if name in names]
    return shared


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = ("string", "large_string", "string_view", "boolean", "integer", "floating")
    return any(getattr(pa.types, f"is_{check}")(kind) for check in checks)


def _grouped(name: str, values: Sequence[str]) -> Colouring:
    counts = Counter(values)
    largest = [value for value, _ in counts.most_common(MAX_GROUPS)]
    if len(counts) > MAX_GROUPS:
        largest[-1] = _OTHER
    number = {value: place for place, value in enumerate(largest)}
    return Colouring(
        name, np.array([number.get(value, len(largest) - 1) for value in values], np.uint8), tuple(largest)
    )
