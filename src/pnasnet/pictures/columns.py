"""Columns of images in Arrow tables, as in Parquet files and Hugging Face datasets."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import ImageError, InputError, UnknownNameError, choose_one_of
from ..images import Source
from ..support.urls import is_http, is_url
from .access import Access
from .kinds import local_path
from .storage import read_url

IMAGE_COLUMNS = ("image", "img")
_MAX_NAMES = 20
_MAX_PATH = 4096
"""Characters; Linux allows no longer path."""


def find_column(schema: pa.Schema, wanted: tuple[str, ...], where: str, hint: str) -> str:
    """Return the first of the `wanted` names that exactly one column has. Raises `InputError`, ending with `hint`."""
    for name in wanted:
        if len(schema.get_all_field_indices(name)) == 1:
            return name
    others = f" (nor {' or '.join(wanted[1:])})" if wanted[1:] else ""
    columns = ", ".join(map(repr, schema.names[:_MAX_NAMES]))
    raise InputError(f"{where!r} has no column {wanted[0]!r}{others}, only {columns}: {hint}")


def find_pictures(schema: pa.Schema, where: str, column: str | None = None) -> str:
    """Return the name of the column of images: `column`, or `image` or `img`. Raises `InputError`.

    Raises `UnknownNameError` if there is no such `column`.
    """
    wanted = IMAGE_COLUMNS if column is None else (column,)
    if column is not None and column not in schema.names:
        raise UnknownNameError(f"{where!r} has no column {column!r}: {choose_one_of(schema.names[:_MAX_NAMES])}")
    image = find_column(schema, wanted, where, "name one with --image-column (image_column=)")
    if not _holds_pictures(schema.field(image).type):
        raise InputError(
            f"column {image!r} of {where!r} has type {schema.field(image).type}: images must be the bytes of image "
            "files, their paths, or a struct of both"
        )
    return image


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values without dictionary encoding, run-end encoding and extension types."""
    while True:
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        else:
            return kind


def is_binary(kind: pa.DataType) -> bool:
    """Return whether the values are bytes, in any layout."""
    kind = value_type(kind)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def is_string(kind: pa.DataType) -> bool:
    """Return whether the values are strings, in any layout."""
    kind = value_type(kind)
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def refuse_missing(column: pa.ChunkedArray, names: Sequence[str]) -> None:
    """Raise `InputError`, with the name of the row, if a row has neither the bytes nor the path of an image."""
    parts = [column]
    if pa.types.is_struct(column.type):
        parts = [pc.struct_field(column, name) for name in _parts(column.type)]
    row = pc.index(reduce(pc.and_, map(pc.is_null, parts)), value=True).as_py()
    if row >= 0:
        raise InputError(f"{names[row]!r} has no image: add it, or remove the row")


def picture_in(cell: pa.Scalar, folder: str, access: Access, name: str, also: tuple[str, ...] = ()) -> Source:
    """Return the image in a cell: its bytes, the path of its file, or the bytes at its URL.

    Args:
        cell: a cell of a column that `find_pictures` accepts.
        folder: the folder, or its URL, of relative paths if `access` has no roots; "" for none.
        access: the files and hosts that the cell may refer to.
        name: name of the image in errors.
        also: further allowed folders of absolute paths if `access` has no roots.

    Raises:
        ImageError: there is no image, or it is not allowed or not readable.
        UnreachableError: its server does not answer.
    """
    found = _content(cell)
    if found is None:
        raise ImageError(f"{name}: no image: the row has neither bytes nor a path")
    if not isinstance(found, str):
        return found
    found = local_path(found)
    if is_url(found):
        access.check_url(found, name)
        return read_url(found, allowed=access.hosts)
    if len(found) > _MAX_PATH:  # an image as base64 or as a data URI
        raise ImageError(f"{name}: text of {len(found):,} characters, not a path: write the bytes of the image instead")
    if is_url(folder) and not access.roots:
        if found.startswith("/") or ".." in found.split("/"):
            raise ImageError(f"{name}: {found!r} is a path on the writer's machine: write the images into the file")
        return read_url(f"{folder}/{quote(found) if is_http(folder) else found}")
    if access.roots:
        return access.path(found, name)
    if not folder and not Path(found).is_absolute():
        raise ImageError(f"{name}: {found!r} is a path in an unknown folder: write the images into the dataset")
    return Access((folder, *also) if folder else also).path(found, name)


def _content(cell: pa.Scalar) -> str | bytes | None:
    content: Any = cell.as_py() if cell.is_valid else None
    if not pa.types.is_struct(value_type(cell.type)) or content is None:
        return content  # type: ignore[no-any-return]
    return next((content[name] for name in _parts(value_type(cell.type)) if content[name] is not None), None)


def _parts(kind: pa.DataType) -> list[str]:
    return [name for name in ("bytes", "path") if kind.get_field_index(name) >= 0]


def _holds_pictures(kind: pa.DataType) -> bool:
    kind = value_type(kind)
    if not pa.types.is_struct(kind):
        return is_binary(kind) or is_string(kind)
    parts = {field.name: field.type for field in kind}
    right = ("bytes" not in parts or is_binary(parts["bytes"])) and ("path" not in parts or is_string(parts["path"]))
    return bool(_parts(kind)) and right
