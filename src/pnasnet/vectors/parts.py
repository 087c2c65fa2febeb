"""Parquet files with a column of vectors, written by pnasnet, Polars, pandas, DuckDB or other software.

`pa.array` and `Array.to_pandas` are not used here: they import pandas if it is installed, which takes longer than a
query.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import InputError, UnknownNameError
from ..support.contexts import contextmanager
from ..support.files import check_regular
from ..support.text import clean

Numbers = NDArray[np.floating[Any]]
"""Vectors as stored: float32, or float64 if the column holds float64 or large integers."""
RowNumbers = NDArray[np.int64]

MAX_NUMBERS = 1 << 24
"""Limit of a vector's length, which bounds the memory that a hostile file can claim."""

PATH = "path"
STATUS = "status"
_FAILED = ("error", "unreachable")
"""Values of the column `status` in rows without a vector."""

_BLOCK_BYTES = 16 << 20
_ROWS_AT_ONCE = 1 << 16  # of columns other than the vectors
_FOOTER_END = 8  # a Parquet file ends with the footer, its length in 4 bytes, and the 4 bytes of the format
_MAX_FOOTER = 256 << 20


class SeveralColumnsError(InputError):
    """A table has several columns of vectors, and none is named."""


@dataclass(frozen=True)
class VectorFile:
    """A Parquet file with a column of vectors.

    Attributes:
        path: the file.
        rows: number of rows, with and without a vector.
        fingerprint: SHA-256 of the footer, which has the sizes and offsets of all column chunks, in hexadecimal.
        column: the column of vectors.
        length: F, the length of each vector.
        names: the column with the names of the images; None if there is none.
        has_status: whether there is a column `status`.
        described: the columns that describe the images: `names`, and `width` and `height` if they are integers.
        metadata: the metadata of pnasnet, without the prefix `pnasnet.`.
    """

    path: Path
    rows: int
    fingerprint: str
    column: str
    length: int
    names: str | None
    has_status: bool
    described: tuple[str, ...]
    metadata: Mapping[str, str]

    def blocks(self) -> Iterator[tuple[RowNumbers, Numbers]]:
        """Yield the numbers of the rows that have a vector, and the vectors [n, F], a bounded number at a time."""
        start = 0
        columns = [self.column, *([STATUS] if self.has_status else [])]
        with self._open() as file:
            for batch in file.iter_batches(max(1, _BLOCK_BYTES // (4 * self.length)), columns=columns):
                usable = pc.is_valid(batch[self.column])
                rows = _places(pc.and_(usable, _succeeded(batch)) if self.has_status else usable)
                if len(rows):
                    yield start + rows, self._vectors(batch[self.column].take(_indices(rows)), start + rows)
                start += len(batch)

    def vectors(self, rows: RowNumbers) -> tuple[NDArray[np.bool_], Numbers]:
        """Return a mask [n] of the rows that have a vector, and these vectors [m, F]. Reads whole row groups."""
        valid, found = np.zeros(len(rows), np.bool_), np.zeros((len(rows), self.length), np.float64)
        kind: type = np.float32
        for places, table in self.take(rows, [self.column]):
            column = table.column(0).combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            usable = _places(pc.is_valid(column))
            valid[places[usable]] = True
            some = self._vectors(column.take(_indices(usable)), rows[places[usable]])
            found[places[usable]] = some
            kind = np.float64 if some.dtype == np.float64 else kind
        return valid, found[valid].astype(kind)

    def take(self, rows: RowNumbers, columns: Sequence[str]) -> Iterator[tuple[NDArray[np.intp], pa.Table]]:
        """Yield `rows` by row group: their places in `rows`, and a table. Raises `InputError` for a missing row."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.rows):
            raise InputError(
                f"{self.path} has {self.rows:,} rows, so there is no row {rows.max():,}: index the features again"
            )
        with self._open(pre_buffer=True) as file:
            starts = np.array(_starts(file))
            group_of = np.searchsorted(starts, rows, "right") - 1
            for group in np.unique(group_of).tolist():
                places = np.flatnonzero(group_of == group)
                table = file.read_row_group(group, columns=list(columns))
                yield places, table.take(_indices(rows[places] - starts[group]))

    def find(self, names: pa.Array) -> Iterator[tuple[str, int]]:
        """Yield name and number of each row without error whose name is among `names`."""
        if self.names is None:
            return
        columns, start = [self.names, *([STATUS] if self.has_status else [])], 0
        for batch in self._short_columns(columns):
            with _arrow_errors(self.path):
                texts = batch[self.names].cast(pa.string())
            hits = pc.is_in(texts, names)
            for row in _places(pc.and_(hits, _succeeded(batch)) if self.has_status else hits).tolist():
                yield texts[row].as_py(), start + row
            start += len(batch)

    def numbers(self, column: str) -> NDArray[np.int64]:
        """Return a column of integers, int64 [rows]; missing values are 0."""
        if column not in self.described:
            return np.zeros(self.rows, np.int64)
        result, start = np.zeros(self.rows, np.int64), 0
        for batch in self._short_columns([column]):
            known = _places(pc.is_valid(batch[column]))
            result[start + known] = np.from_dlpack(batch[column].drop_null().cast(pa.int64()))
            start += len(batch)
        return result

    def _short_columns(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield columns other than the vectors, fetched for many row groups at once.

        On disk, vectors lie between them: reading them group by group would wait for the disk each time.
        """
        with self._open(pre_buffer=True) as file:
            starts = _starts(file)
            for _, groups in groupby(range(file.num_row_groups), lambda group: starts[group] // _ROWS_AT_ONCE):
                yield from file.iter_batches(_ROWS_AT_ONCE, row_groups=list(groups), columns=columns)

    def _vectors(self, lists: pa.Array, rows: RowNumbers) -> Numbers:
        """Return lists without nulls as [n, F]. Raises `InputError` unless all have length F."""
        lengths = np.from_dlpack(pc.list_value_length(lists).cast(pa.int64()))
        if (wrong := np.flatnonzero(lengths != self.length)).size:
            raise InputError(
                f"{self.path}: the vector in row {rows[wrong[0]]:,} of the column {clean(self.column)} has length "
                f"{lengths[wrong[0]]:,}, others have {self.length:,}: name a column of vectors of one length"
            )
        flat = lists.flatten()
        values = flat.to_numpy(zero_copy_only=False) if flat.null_count else np.from_dlpack(flat)
        wide = values.dtype == np.float64 or (values.dtype.kind in "iu" and values.dtype.itemsize > 2)
        result: Numbers = np.ascontiguousarray(values.reshape(-1, self.length), np.float64 if wide else np.float32)
        return result

    def _open(self, *, pre_buffer: bool = False) -> Any:
        return _opened(self.path, pre_buffer=pre_buffer)


def open_part(path: Path, column: str | None = None, names: str | None = None) -> VectorFile:
    """Open a Parquet file; reads only its footer, and the first vector of lists of variable length.

    Args:
        path: the file.
        column: the column of vectors; required if there are several.
        names: the column with the names of the images; by default `path`, if there is one.

    Raises:
        InputError: the file is not Parquet, is damaged, or has no vectors, or its names are not text.
        UnknownNameError: there is no such column.
    """
    with _opened(path) as file:
        schema = file.schema_arrow
        chosen = _choose(path, schema, column)
        _check_unique(path, schema, chosen)
        _check_sizes(path, file, chosen, MAX_NUMBERS)
        length = _length(file, chosen, schema.field(chosen).type)
        if not 0 < length <= MAX_NUMBERS:
            problem = f"have length {length:,}" if length else "are missing or empty in all rows"
            raise InputError(f"{path} holds no vectors: those of the column {clean(chosen)} {problem}")
        _check_sizes(path, file, chosen, length)
        paths = _names(path, schema, names)
        sizes = [side for side in ("width", "height") if _has(schema, side, pa.types.is_integer)]
        return VectorFile(
            path,
            rows=file.metadata.num_rows,
            fingerprint=_fingerprint(path),
            column=chosen,
            length=length,
            names=paths,
            has_status=_has(schema, STATUS, _is_text),
            described=(*([paths] if paths else []), *sizes),
            metadata=own_metadata(schema.metadata) | own_metadata(schema.field(chosen).metadata),
        )


def _choose(path: Path, schema: pa.Schema, column: str | None) -> str:
    """Return the column of vectors."""
    found = {field.name: field.type.value_type for field in schema if _is_vector(field.type)}
    if column is not None:
        if column not in found:
            raise UnknownNameError.of(
                "column of vectors", column, list(found) or ["none: no column holds lists of numbers"]
            )
        return column
    floats = [name for name, kind in found.items() if pa.types.is_floating(kind)] or list(found)
    if not floats:
        raise InputError(f"{path} holds no vectors: no column holds lists of numbers")
    if len(floats) > 1:
        listed = clean(", ".join(floats))
        raise SeveralColumnsError(f"{path} has {len(floats)} columns of vectors ({listed}): name one with --column")
    return str(floats[0])


def _check_unique(path: Path, schema: pa.Schema, name: str) -> None:
    if (count := schema.names.count(name)) > 1:
        raise InputError(f"{path} has {count} columns named {clean(name)}: rename all but one of them")


def _names(path: Path, schema: pa.Schema, names: str | None) -> str | None:
    """Return the column with the names of the images; None if there is none."""
    if names is not None:
        if names not in schema.names:
            raise UnknownNameError.of("column", names, schema.names)
        _check_unique(path, schema, names)
    if _has(schema, names or PATH, _is_text):
        return names or PATH
    if names is not None:
        raise InputError(f"{path}: the column {clean(names)} holds {schema.field(names).type}: name a column of text")
    return None


def _has(schema: pa.Schema, name: str, is_right: Callable[[pa.DataType], bool]) -> bool:
    """Return whether there is exactly one column of that name, and its type is right."""
    return schema.names.count(name) == 1 and is_right(schema.field(name).type)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_vector(kind: pa.DataType) -> bool:
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _length(file: pq.ParquetFile, column: str, kind: pa.DataType) -> int:
    """Return the length of the first vector; 0 if there is none."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in file.iter_batches(64, columns=[column]):
        if len(lengths := pc.list_value_length(batch.column(0)).drop_null()):
            return int(lengths[0].as_py())
    return 0


def _check_sizes(path: Path, file: pq.ParquetFile, column: str, length: int) -> None:
    """Raise `InputError` if a row group has more numbers than vectors of this length."""
    metadata = file.metadata
    leaves = [leaf for leaf in range(metadata.num_columns) if file.schema.column(leaf).path.startswith(f"{column}.")]
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for leaf in leaves:
            if group.column(leaf).num_values > length * group.num_rows:
                raise InputError(
                    f"{path}: the vectors of the column {clean(column)} differ in length, or are longer than "
                    f"{length:,}: name a column of vectors of one length"
                )


def own_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Return the metadata whose keys begin with `pnasnet.`, without this prefix."""
    prefix = b"pnasnet."
    return {
        key.removeprefix(prefix).decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (metadata or {}).items()
        if key.startswith(prefix)
    }


def strings(values: Sequence[str]) -> pa.Array:
    """Return an Arrow array of strings."""
    encoded = [value.encode() for value in values]
    ends = np.array([0, *accumulate(map(len, encoded))], np.int64)
    return pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))).cast(
        pa.string()
    )


def _succeeded(batch: pa.RecordBatch) -> pa.Array:
    failed = pc.is_in(batch[STATUS].cast(pa.string()), strings(_FAILED))
    return pc.invert(failed)


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(end - _FOOTER_END)
        length = min(int.from_bytes(file.read(4), "little"), end - _FOOTER_END, _MAX_FOOTER)
        file.seek(end - _FOOTER_END - length)
        return hashlib.sha256(file.read(length + _FOOTER_END)).hexdigest()


@contextmanager
def _opened(path: Path, *, pre_buffer: bool = False) -> Iterator[pq.ParquetFile]:
    """Open a file to read it in pieces or, with `pre_buffer`, by whole row groups. Raises `InputError`."""
    check_regular(path)
    with (
        _arrow_errors(path),
        pq.ParquetFile(path, buffer_size=0 if pre_buffer else 1 << 20, pre_buffer=pre_buffer) as file,
    ):
        yield file


@contextmanager
def _arrow_errors(path: Path) -> Iterator[None]:
    """Within the block, turn Arrow's errors into an `InputError`."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = clean(" ".join(str(error).split())).removesuffix(".")
        raise InputError(f"{path} cannot be read as Parquet ({reason}): check that it is whole") from error


def _starts(file: pq.ParquetFile) -> list[int]:
    """Return the number of each row group's first row, and the number of all rows."""
    return [0, *accumulate(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))]


def _places(mask: pa.BooleanArray) -> RowNumbers:
    """Return the indices at which a mask is true."""
    return np.from_dlpack(pc.indices_nonzero(mask)).astype(np.int64)


def _indices(values: NDArray[np.integer[Any]]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])
