"""Labelled pictures in Parquet files, held in memory as they are encoded."""

import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..errors import ImageError, InputError
from ..images import Source
from ..pictures.access import CLOSED, Access
from ..pictures.columns import picture_in
from ..pictures.parquet import folder_of, opened
from ..support.system import free_memory
from .columns import Columns, plain_labels, read_labels, refuse_missing
from .labelled import LabelledImages

_BATCH = 128  # rows at a time: Arrow has no struct of more than 2 GiB of bytes in one piece


def open_parquet(paths: Sequence[str], image_column: str | None = None, access: Access = CLOSED) -> LabelledImages:
    """Return the rows of the files in their order, each named `file.parquet#17`; the first row is 0.

    A file has a column `image`: a struct of `bytes` and `path` as Hugging Face writes it, bytes, or paths, which may
    begin at the file's folder. Its column `label` (or `labels`, or `fine_label`) has numbers or strings. Classes are
    the names in Hugging Face's metadata, else the sorted strings, else the numbers up to the largest.

    Raises:
        InputError: a file is no Parquet file, lacks a column, or has other classes than the first one; a picture or a
            label is missing; there are no rows; the pictures need more than half of the free memory.
    """
    columns = [_columns_of(path, image_column) for path in paths]
    known = [found.classes for found in columns]
    if len(set(known)) > 1:
        other = paths[next(index for index, classes in enumerate(known) if classes != known[0])]
        raise InputError(f"{paths[0]!r} and {other!r} name other classes: open them one by one")
    _check_memory(paths, columns)
    tables = [_read(path, found) for path, found in zip(paths, columns, strict=True)]
    names = [f"{path}#{row}" for path, table in zip(paths, tables, strict=True) for row in range(table.num_rows)]
    if not names:
        raise InputError(f"{paths[0]!r} has no rows: open a file that has some")
    starts = [0]
    for table in tables:
        starts.append(starts[-1] + table.num_rows)
        refuse_missing(table.column(0), names[starts[-2] : starts[-1]])
    labels, classes = read_labels(_one_column(tables, paths), names, known[0])
    pictures = tuple(table.column(0) for table in tables)
    return LabelledImages(names, labels, classes, _Pictures(pictures, starts, tuple(paths), access))


@dataclass(frozen=True)
class _Pictures:
    """Reads pictures from columns, one for each file; it can be pickled."""

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
    """Return the pictures and the labels, in this order."""
    with _open(path) as file:
        batches = list(file.iter_batches(_BATCH, columns=[columns.image, columns.label]))
        table = pa.Table.from_batches(batches, file.schema_arrow if not batches else None)
    return table.select([columns.image, columns.label])


def _one_column(tables: Sequence[pa.Table], paths: Sequence[str]) -> pa.ChunkedArray:
    """Return the labels of all files in one column of strings or of numbers."""
    columns = [plain_labels(table.column(1), path) for table, path in zip(tables, paths, strict=True)]
    kinds = [column.type for column in columns]
    if len(set(kinds)) > 1:
        other = paths[next(index for index, kind in enumerate(kinds) if kind != kinds[0])]
        raise InputError(f"{paths[0]!r} and {other!r} have labels of two kinds: open them one by one")
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], kinds[0])


def _check_memory(paths: Sequence[str], columns: Sequence[Columns]) -> None:
    size = sum(_uncompressed(path, found.image) for path, found in zip(paths, columns, strict=True))
    free = free_memory()
    if free is not None and size > free / 2:
        raise InputError(
            f"the pictures in {paths[0]!r} and its like take {size / 2**30:.1f} GiB, more than half of the "
            f"{free / 2**30:.1f} GiB of memory that are free: open them as a Hugging Face dataset (hf:NAME), "
            "or write them to tar shards"
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
