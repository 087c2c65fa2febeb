"""Pictures and labels in Arrow tables, as Parquet files and Hugging Face datasets hold them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import ImageError, InputError
from ..images import Source
from .classes import check_classes, number_labels

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold the pictures and the labels, and the names of the classes if it has them."""

    image: str
    label: str
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, schema: pa.Schema, where: str) -> "Columns":
        """Find them in a schema. Raises `InputError` where there are none, or of other types."""
        image, label = find_pictures(schema, where), _find(schema, LABEL_COLUMNS, where)
        kind = _plain(schema.field(label).type)
        if not (pa.types.is_integer(kind) or _is_string(kind)):
            raise InputError(f"{where!r} has in column {label!r} {kind}: labels are whole numbers or strings")
        return cls(image, label, _class_names(schema, label, where))


def find_pictures(schema: pa.Schema, where: str) -> str:
    """Return the name of the column that holds the pictures. Raises `InputError` where none does."""
    image = _find(schema, IMAGE_COLUMNS, where)
    if not _holds_pictures(schema.field(image).type):
        raise InputError(
            f"{where!r} has in column {image!r} {schema.field(image).type}: "
            "pictures are the bytes of image files, their paths, or a struct of both"
        )
    return image


def plain_labels(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """Return labels as int64 or as strings. Raises `InputError` where a number is too large."""
    kind = pa.int64() if pa.types.is_integer(_plain(column.type)) else pa.string()
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise InputError(f"{where!r} has a label that is no class ({error}): correct it") from error


def read_labels(
    column: pa.ChunkedArray, names: Sequence[str], classes: tuple[str, ...] | None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the indices of the classes, [N] int64, and the names of the classes; as `classes.number_labels`.

    Args:
        column: as `plain_labels` returns it.
        names: what each row is called, for errors.
        classes: where they are known.

    Raises:
        InputError: also where a label is null.
    """
    if column.null_count:
        raise InputError(f"{names[_first(pc.is_null(column))]!r} has no label: add it, or remove the row")
    return number_labels(column.to_pylist(), names, classes)


def refuse_missing(column: pa.ChunkedArray, names: Sequence[str]) -> None:
    """Raise `InputError` if a row has neither the bytes nor the path of a picture."""
    if pa.types.is_struct(column.type):
        parts = [pc.struct_field(column, name) for name in ("bytes", "path") if column.type.get_field_index(name) >= 0]
        missing = pc.is_null(parts[0]) if len(parts) == 1 else pc.and_(pc.is_null(parts[0]), pc.is_null(parts[1]))
    else:
        missing = pc.is_null(column)
    row = _first(missing)
    if row >= 0:
        raise InputError(f"{names[row]!r} has no picture: add it, or remove the row")


def picture_in(cell: pa.Scalar, folder: str = "") -> Source:
    """Return the picture in one cell: its bytes, or its path, which may begin at `folder`."""
    if not pa.types.is_struct(cell.type):
        part = cell
    else:
        parts = [cell[name] for name in ("bytes", "path") if cell.type.get_field_index(name) >= 0]
        part = next((part for part in parts if part.is_valid), parts[-1])
    content: str | bytes = part.as_py()
    return str(Path(folder, content)) if isinstance(content, str) else content


def refuse_relative(picture: Source, name: str) -> Source:
    """Return a picture of a dataset that lies in no folder, where a relative path would be read from the working one.

    Raises `ImageError` where it is one.
    """
    if isinstance(picture, str) and not Path(picture).is_absolute():
        raise ImageError(f"{name}: {picture!r} is a path in no folder that is known: write pictures into the dataset")
    return picture


def _find(schema: pa.Schema, wanted: tuple[str, ...], where: str) -> str:
    for name in wanted:
        found = schema.get_all_field_indices(name)
        if len(found) == 1:
            return name
    columns = ", ".join(map(repr, schema.names[:20]))
    raise InputError(
        f"{where!r} has no column {wanted[0]!r} (nor {' or '.join(wanted[1:])}), but {columns}: rename one"
    )


def _holds_pictures(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return _is_binary(kind) or _is_string(kind)
    parts = {field.name: field.type for field in kind}
    has_bytes, has_path = "bytes" in parts, "path" in parts
    right = (not has_bytes or _is_binary(parts["bytes"])) and (not has_path or _is_string(parts["path"]))
    return (has_bytes or has_path) and right


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _class_names(schema: pa.Schema, label: str, where: str) -> tuple[str, ...] | None:
    """Return the names that Hugging Face's metadata give the classes, if they do."""
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


def _first(mask: pa.ChunkedArray) -> int:
    """Return where the first True is, or -1."""
    return int(pc.index(mask, value=True).as_py())
