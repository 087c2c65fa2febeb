"""Opens labelled images in Parquet files; the encoded images are kept in memory."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..errors import ImageError, InputError
from ..images import Source
from ..pictures.access import CLOSED, Access
from ..pictures.columns import picture_in, refuse_missing
from ..pictures.parquet import folder_of, opened
from ..support.contexts import contextmanager
from ..support.system import free_memory
from .columns import Columns, plain_labels, read_labels
from .labelled import LabelledImages

_BATCH = 128  # rows at a time: Arrow has no struct of more than 2 GiB of bytes in one piece


def open_parquet(paths: Sequence[str], image_column: str | None = None, access: Access = CLOSED) -> LabelledImages:
    """Return the rows of the files in order, each named `file.parquet#17`; rows count from 0.

    The column `image` is a struct of `bytes` and `path` as Hugging Face writes it, bytes, or paths, which may be
    relative to the folder of the file. The column `label` (or `labels`, or `fine_label`) has numbers or strings. The
    classes are the names in Hugging Face's metadata, else the sorted strings, else the numbers up to the largest.

    Raises:
        InputError: a file is not a Parquet file, lacks a column, or has other classes than the first one; an image or
            a label is missing; there are no rows; or the images need more than half of the free memory.
    """
    columns = [_columns_of(path, image_column) for path in paths]
    known = [found.classes for found in columns]
    _check_alike(known, paths, "class names")
    _check_memory(paths, columns)
    tables = [_read(path, found) for path, found in zip(paths, columns, strict=True)]
    names = [f"{path}#{row}" for path, table in zip(paths, tables, strict=True) for row in range(table.num_rows)]
    if not names:
        raise InputError(f"{paths[0]!r} has no rows: choose a file with images")
    starts = [0]
    for table in tables:
        starts.append(starts[-1] + table.num_rows)
        refuse_missing(table.column(0), names[starts[-2] : starts[-1]])
    plain = [plain_labels(table.column(1), path) for table, path in zip(tables, paths, strict=True)]
    _check_alike([column.type for column in plain], paths, "types of labels")
    labels, classes = read_labels(pa.chunked_array([c for column in plain for c in column.chunks]), names, known[0])
    images = tuple(table.column(0) for table in tables)
    return LabelledImages(names, labels, classes, _ColumnImages(images, starts, tuple(paths), access))


@dataclass(frozen=True)
class _ColumnImages:
    """Reads images from columns, one for each file. It can be pickled."""

    columns: tuple[pa.ChunkedArray, ...]
    starts: Sequence[int]
    paths: tuple[str, ...]
    access: Access

    def __call__(self, index: int) -> Source:
        file = bisect.bisect_right(self.starts, index) - 1
        row, path = index - self.starts[file], self.paths[file]
        return picture_in(self.columns[file][row], folder_of(path), self.access, f"{path}#{row}")


@contextmanager
def _open(path: str) -> Iterator[Any]:
    """Open a file. Raises `InputError`, now or while it is read."""
    try:
        with opened(path) as file:
            yield file
    except ImageError as error:
        raise InputError(str(error)) from error


def _columns_of(path: str, image_column: str | None) -> Columns:
    with _open(path) as file:
        return Columns.of(file.schema_arrow, path, image_column)


def _read(path: str, columns: Columns) -> pa.Table:
    """Return the columns of images and of labels."""
    with _open(path) as file:
        batches = list(file.iter_batches(_BATCH, columns=[columns.image, columns.label]))
        table = pa.Table.from_batches(batches, file.schema_arrow if not batches else None)
    return table.select([columns.image, columns.label])


def _check_alike(values: Sequence[object], paths: Sequence[str], what: str) -> None:
    """Raise `InputError` unless all files have the same value."""
    other = next((path for path, value in zip(paths, values, strict=True) if value != values[0]), None)
    if other is not None:
        raise InputError(f"{paths[0]!r} and {other!r} have different {what}: open them one at a time")


def _check_memory(paths: Sequence[str], columns: Sequence[Columns]) -> None:
    size = sum(_uncompressed(path, found.image) for path, found in zip(paths, columns, strict=True))
    free = free_memory()
    if free is not None and size > free / 2:
        raise InputError(
            f"the images in {paths[0]!r} and similar files need {size / 2**30:.1f} GiB, more than half of the "
            f"{free / 2**30:.1f} GiB of free memory: open them as a Hugging Face dataset (hf:NAME), or write tar shards"
        )


def _uncompressed(path: str, column: str) -> int:
    with _open(path) as file:
        metadata = file.metadata
        return sum(
            chunk.total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for chunk in map(metadata.row_group(group).column, range(metadata.num_columns))
            if chunk.path_in_schema.partition(".")[0] == column
        )
