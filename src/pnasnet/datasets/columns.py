"""Columns of labels in Arrow tables, as Parquet files and Hugging Face datasets have them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from ..pictures.columns import find_column, find_pictures, first_missing, is_string, value_type
from .classes import check_classes, number_labels

LABEL_COLUMNS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold pictures and labels, and the names of the classes if the table has them."""

    image: str
    label: str
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, schema: pa.Schema, where: str, image_column: str | None = None) -> "Columns":
        """Find them in a schema. Raises `InputError` if one is missing or has another type."""
        image, label = (
            find_pictures(schema, where, image_column),
            find_column(schema, LABEL_COLUMNS, where, "rename one"),
        )
        kind = schema.field(label).type
        if not (pa.types.is_integer(value_type(kind)) or is_string(kind)):
            raise InputError(f"{where!r} has in column {label!r} {kind}: labels are whole numbers or strings")
        return cls(image, label, _class_names(schema, label, where))


def plain_labels(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Return labels as int64 or as strings. Raises `InputError` where a number is too large."""
    kind = pa.int64() if pa.types.is_integer(value_type(column.type)) else pa.string()
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"{where!r} has a label that is no class ({error}): correct it") from error


def read_labels(
    column: pa.ChunkedArray, names: Sequence[str], classes: tuple[str, ...] | None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the indices of the classes, [N] int64, and the names of the classes; see `classes.number_labels`.

    Args:
        column: as `plain_labels` returns it.
        names: what each row is called, for errors.
        classes: if they are known.

    Raises:
        InputError: also if a label is null.
    """
    if column.null_count:
        row = pc.index(pc.is_null(column), value=True).as_py()
        raise InputError(f"{names[row]!r} has no label: add it, or remove the row")
    return number_labels(column.to_pylist(), names, classes)


def refuse_missing(column: pa.ChunkedArray, names: Sequence[str]) -> None:
    """Raise `InputError` if a row has neither the bytes nor the path of a picture."""
    row = first_missing(column)
    if row >= 0:
        raise InputError(f"{names[row]!r} has no picture: add it, or remove the row")


def _class_names(schema: pa.Schema, label: str, where: str) -> tuple[str, ...] | None:
    """Return the names of the classes in Hugging Face's metadata, if they are there."""
    found: object = (schema.metadata or {}).get(b"huggingface")
    if found is None:
        return None
    try:
        found = json.loads(found) if isinstance(found, bytes) else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where!r} has metadata of Hugging Face that are damaged ({error}): write it anew") from error
    for key in ("info", "features", label, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    return check_classes(found, repr(where)) if isinstance(found, list) and found else None
