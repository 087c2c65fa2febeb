"""Finds and reads columns of labels in Arrow tables, as in Parquet files and Hugging Face datasets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from ..pictures.columns import find_column, find_pictures, is_string, value_type
from .classes import check_classes, number_labels

LABEL_COLUMNS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Columns:
    """The columns of images and labels in a table, and the names of the classes if the table has them."""

    image: str
    label: str
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, schema: pa.Schema, where: str, image_column: str | None = None) -> "Columns":
        """Find the columns in a schema. Raises `InputError` if one is missing or has an unsupported type."""
        image = find_pictures(schema, where, image_column)
        label = find_column(schema, LABEL_COLUMNS, where, "rename the column of labels")
        kind = schema.field(label).type
        if not (pa.types.is_integer(value_type(kind)) or is_string(kind)):
            raise InputError(f"column {label!r} of {where!r} has type {kind}: labels must be integers or strings")
        return cls(image, label, _class_names(schema, label, where))


def plain_labels(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Return labels as int64 or as strings. Raises `InputError` for a number beyond int64."""
    kind = pa.int64() if pa.types.is_integer(value_type(column.type)) else pa.string()
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"{where!r} has a label that is not a class ({error}): correct it") from error


def read_labels(
    column: pa.ChunkedArray, names: Sequence[str], classes: tuple[str, ...] | None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the class indices, int64 [N], and the names of the classes, as `classes.number_labels` does.

    Args:
        column: labels as returned by `plain_labels`.
        names: names of the rows, for errors.
        classes: names of the classes, if known.

    Raises:
        InputError: a label is null, or as for `number_labels`.
    """
    if column.null_count:
        row = pc.index(pc.is_null(column), value=True).as_py()
        raise InputError(f"{names[row]!r} has no label: add it, or remove the row")
    return number_labels(column.to_pylist(), names, classes)


def _class_names(schema: pa.Schema, label: str, where: str) -> tuple[str, ...] | None:
    """Return the names of the classes in Hugging Face's metadata, or None."""
    found: object = (schema.metadata or {}).get(b"huggingface")
    if found is None:
        return None
    try:
        found = json.loads(found) if isinstance(found, bytes) else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the Hugging Face metadata in {where!r} is damaged ({error}): write it again") from error
    for key in ("info", "features", label, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    return check_classes(found, repr(where)) if isinstance(found, list) and found else None
