"""Files of features, as `pnasnet embed` writes them: one Parquet file, or a folder of parts of one schema."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
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
from ..support.paths import spellings, utf8

COMPARABLE = ("model", "weights_sha256", "endpoint", "preset", "image_size", "exif", "precision")
"""Vectors may meet in one search where the metadata `pnasnet.` + each of these are equal."""

PARTS = "part-*.parquet"
"""What the parts in a folder are called; other files are passed over."""

_BLOCK_BYTES = 16 << 20
_ROWS_AT_ONCE = 1 << 16  # of columns that are short
_ROW_BITS = 32
_FOOTER_END = 8  # a Parquet file ends with the footer, its length in 4 bytes, and 4 that tell the format
_MAX_FOOTER = 256 << 20

Ids = NDArray[np.int64]
"""Rows of the features: the number of the part, times 2**32, and the number of the row in the part."""


@dataclass(frozen=True)
class Part:
    """A Parquet file of features; `fingerprint` is its footer's SHA-256, which tells it from any other content."""

    path: Path
    rows: int
    fingerprint: str


@dataclass(frozen=True)
class Block:
    """Vectors float32 [n, F] with their rows in the features, ids [n]."""

    ids: Ids
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """What a row of the features says of its picture."""

    path: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Features:
    """Vectors of one kind, on disk.

    Attributes:
        path: the file or the folder.
        column: what the column of vectors is called.
        length: F, how long each vector is.
        metadata: what was written about them, without the prefix `pnasnet.`.
        parts: the files, sorted by name.
    """

    path: Path
    column: str
    length: int
    metadata: Mapping[str, str]
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """How many rows there are, those of pictures that failed included."""
        return sum(part.rows for part in self.parts)

    @property
    def comparable(self) -> dict[str, str]:
        """What must be equal for vectors to be compared."""
        return comparable(self.metadata)

    def blocks(self, part: int | None = None) -> Iterator[Block]:
        """Yield the vectors of the rows whose status is "ok", in order, a bounded number at a time.

        `part` is the number of a single part, if not all are wanted. Raises `InputError` where a part cannot be read.
        """
        for number in range(len(self.parts)) if part is None else (part,):
            yield from self._blocks_of(number)

    def vectors(self, ids: Ids) -> NDArray[np.float32]:
        """Return the vectors [n, F] of some rows, which must have the status "ok"; reads their row groups."""
        result = np.empty((len(ids), self.length), np.float32)
        for places, table in self._take(ids, [self.column]):
            result[places] = _to_numpy(table.column(0).combine_chunks(), self.length)
        return result

    def pictures(self, ids: Ids) -> list[Picture]:
        """Return what is said of the pictures in some rows."""
        result: list[Picture] = [Picture("")] * len(ids)
        for places, table in self._take(ids, ["path", "width", "height"]):
            for place, row in zip(places.tolist(), table.to_pylist(), strict=True):
                result[place] = Picture(row["path"], row.get("width"), row.get("height"))
        return result

    def find(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the row of each of the paths that have one with the status "ok"; the first, if there are several.

        A path that is there as it is goes before other spellings of it.
        """
        if not paths:
            return {}
        ok = _strings(["ok"])[0]
        names = {path: [utf8(each) for each in spellings(path)] for path in paths}
        wanted, found = _strings(sorted({each for several in names.values() for each in several})), dict[str, int]()
        for number, part in enumerate(self.parts):
            start = 0
            for batch in _short_columns(part.path, ["path", "status"]):
                hits = _places(pc.and_(pc.is_in(batch["path"], wanted), pc.equal(batch["status"], ok)))
                for row in hits.tolist():
                    found.setdefault(batch["path"][row].as_py(), make_id(number, start + row))
                start += len(batch)
        rows = {path: [found[name] for name in several if name in found] for path, several in names.items()}
        return {path: several[0] for path, several in rows.items() if several}

    def _blocks_of(self, number: int) -> Iterator[Block]:
        start, ok = 0, _strings(["ok"])[0]
        rows_at_once = max(1, _BLOCK_BYTES // (4 * self.length))
        for batch in _batches(self.parts[number].path, [self.column, "status"], rows_at_once):
            rows = _places(pc.and_(pc.equal(batch["status"], ok), pc.is_valid(batch[self.column])))
            if len(rows):
                vectors = _to_numpy(batch[self.column].take(_indices(rows)), self.length)
                yield Block(make_id(number, start) + rows, vectors)
            start += len(batch)

    def _take(self, ids: Ids, columns: list[str]) -> Iterator[tuple[NDArray[np.intp], pa.Table]]:
        """Yield, for each row group that holds some of the rows, their places in `ids` and the rows."""
        numbers, rows = split_ids(ids)
        for number in np.unique(numbers).tolist():
            with _open(self.parts[number].path, pre_buffer=True) as file:
                present = [name for name in columns if name in file.schema_arrow.names]
                starts = np.array(_starts(file))
                group_of = np.searchsorted(starts, rows, "right") - 1
                for group in np.unique(group_of[numbers == number]).tolist():
                    places = np.flatnonzero((numbers == number) & (group_of == group))
                    table = _read_group(file, group, present, self.parts[number].path)
                    yield places, table.take(_indices(rows[places] - starts[group]))


def open_features(path: str | Path, column: str | None = None) -> Features:
    """Open a file or a folder of features; nothing but footers is read.

    Args:
        path: a Parquet file, or a folder of `part-*.parquet`.
        column: the column of vectors, which must be named where there are several.

    Raises:
        InputError: there is nothing such, or parts differ in what makes vectors comparable.
        UnknownNameError: there is no such column of vectors.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob(PARTS))
        if not files:
            raise InputError(f"{path} holds no features: there is no {PARTS} in it; pnasnet embed writes them")
    elif path.exists():
        files = [path]
    else:
        raise InputError(f"{path} does not exist: give a file or folder that pnasnet embed wrote")
    opened = [_open_part(file, column) for file in files]
    first, length, name, metadata = opened[0]
    for part, other_length, _, other in opened[1:]:
        check_comparable(other, metadata, what=str(part.path), where=str(first.path))
        if other_length != length:
            raise InputError(f"{part.path} has vectors of {other_length} numbers, but {first.path} of {length}")
    return Features(path, name, length, metadata, tuple(part for part, *_ in opened))


def comparable(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what of the metadata must be equal for vectors to be compared."""
    return {key: metadata.get(key, "not stated") for key in COMPARABLE}


def check_comparable(these: Mapping[str, str], those: Mapping[str, str], *, what: str, where: str) -> None:
    """Raise `InputError`, which shows the differences, unless vectors of the two may be compared."""
    ours, theirs = comparable(these), comparable(those)
    if differences := [f"{key} is {ours[key]} against {theirs[key]}" for key in COMPARABLE if ours[key] != theirs[key]]:
        raise InputError(f"vectors of {what} and of {where} cannot be compared: {', '.join(differences)}")


def make_id(part: int, row: int) -> int:
    """Return the id of a row of a part."""
    return (part << _ROW_BITS) + row


def make_ids(parts: Ids, rows: Ids) -> Ids:
    """Return the ids of rows of several parts."""
    return (parts << _ROW_BITS) + rows


def split_ids(ids: Ids) -> tuple[Ids, Ids]:
    """Return the numbers of the parts, and of the rows in them."""
    return ids >> _ROW_BITS, ids & ((1 << _ROW_BITS) - 1)


def _open_part(path: Path, column: str | None) -> tuple[Part, int, str, dict[str, str]]:
    with _open(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    metadata = _stated(schema.metadata)
    if not metadata or not {"path", "status"} <= set(schema.names):
        raise InputError(f"{path} holds no features: it is Parquet, but not as pnasnet embed writes it")
    names = [field.name for field in schema if _is_vector(field.type)]
    if not names:
        raise InputError(f"{path} holds no vectors: it has no column of fixed-size lists of float32 or float16")
    if column is not None and column not in names:
        raise UnknownNameError.of("column of vectors", column, names)
    if len(names) > 1 and column is None:
        raise InputError(f"{path} has {len(names)} columns of vectors ({', '.join(names)}): name one with --column")
    field = schema.field(column or names[0])
    part = Part(path, rows, _fingerprint(path))
    return part, field.type.list_size, field.name, metadata | _stated(field.metadata)


def _stated(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Return metadata whose keys begin with `pnasnet.`, without that."""
    prefix = b"pnasnet."
    return {
        key.removeprefix(prefix).decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (metadata or {}).items()
        if key.startswith(prefix)
    }


def _is_vector(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_fixed_size_list(kind)
        and kind.list_size > 0
        and (pa.types.is_float32(kind.value_type) or pa.types.is_float16(kind.value_type))
    )


def _fingerprint(path: Path) -> str:
    """Return the SHA-256 of the footer, in which sizes and offsets of all column chunks are."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(end - _FOOTER_END)
        length = min(int.from_bytes(file.read(4), "little"), end - _FOOTER_END, _MAX_FOOTER)
        file.seek(end - _FOOTER_END - length)
        return hashlib.sha256(file.read(length + _FOOTER_END)).hexdigest()


def _open(path: Path, *, pre_buffer: bool = False) -> pq.ParquetFile:
    """Open a file of which columns are read bit by bit, or, if `pre_buffer`, whole row groups at once."""
    try:
        return pq.ParquetFile(path, buffer_size=0 if pre_buffer else 1 << 20, pre_buffer=pre_buffer)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _batches(path: Path, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    with _open(path) as file:
        try:
            yield from file.iter_batches(batch_size=rows, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error


def _short_columns(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns that take little of a file: fetched for many row groups at once, between which vectors lie.

    One after the other, each would be waited for, where the file is not in memory yet.
    """
    with _open(path, pre_buffer=True) as file:
        starts = _starts(file)
        try:
            for _, groups in groupby(range(file.num_row_groups), lambda group: starts[group] // _ROWS_AT_ONCE):
                yield from file.iter_batches(_ROWS_AT_ONCE, row_groups=list(groups), columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error


def _starts(file: pq.ParquetFile) -> list[int]:
    """Return the number of each row group's first row, and that of all rows."""
    return [0, *accumulate(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))]


def _read_group(file: pq.ParquetFile, group: int, columns: list[str], path: Path) -> pa.Table:
    try:
        return file.read_row_group(group, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).removesuffix(".")
    return InputError(f"{path} cannot be read as Parquet ({reason}): is it whole, and written by pnasnet embed?")


# Neither by pa.array nor by to_numpy, which import pandas where it is installed: that takes longer than the answer to a
# question.


def _to_numpy(vectors: pa.FixedSizeListArray, length: int) -> NDArray[np.float32]:
    flat = vectors.flatten()
    values = flat.to_numpy(zero_copy_only=False) if flat.null_count else np.from_dlpack(flat)
    return np.ascontiguousarray(values.reshape(-1, length), np.float32)


def _places(mask: pa.BooleanArray) -> NDArray[np.int64]:
    """Return where a mask is true."""
    return np.from_dlpack(pc.indices_nonzero(mask)).astype(np.int64)


def _indices(values: NDArray[np.integer[Any]]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])


def _strings(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    ends = np.array([0, *accumulate(map(len, encoded))], np.int64)
    return pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))).cast(
        pa.string()
    )
