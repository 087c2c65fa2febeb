"""Pictures in Parquet files, as Hugging Face writes them: bytes, paths, or structs of both; on disk or behind a URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.columns import find_pictures, picture_in
from ...errors import ImageError, InputError
from ...images import Source
from .storage import is_url, open_url, read_url, reason
from .unit import Picture, Unit

_BATCH = 64  # rows decoded at a time: they are whole pictures


@dataclass(frozen=True)
class RowGroup(Unit):
    """A row group of a Parquet file."""

    kind = "parquet"
    path: str
    column: str
    group: int
    first: int
    """The number of its first row in the file."""
    rows: int

    @property
    def name(self) -> str:
        """The file and its first row."""
        return f"{self.path}#{self.first}"

    @property
    def size(self) -> int:
        """How many rows."""
        return self.rows

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the rows from number `start` on, called `file.parquet#17` by their number in the file."""
        folder = "" if is_url(self.path) else str(Path(self.path).parent)
        with _opened(self.path) as file:
            batches = file.iter_batches(_BATCH, row_groups=[self.group], columns=[self.column])
            cells = (cell for batch in batches for cell in batch.column(0))
            for number, cell in enumerate(islice(cells, start, None), self.first + start):
                name = f"{self.path}#{number}"
                yield Picture(name, partial(read_cell, cell, folder, name))


def row_groups(path: str) -> Iterator[RowGroup]:
    """Yield the row groups of a file. Raises `InputError` where it is no Parquet file, or holds no pictures."""
    first = 0
    try:
        with _opened(path) as file:
            column = find_pictures(file.schema_arrow, path)
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except ImageError as error:
        raise InputError(str(error)) from error
    for group, rows in enumerate(counts):
        yield RowGroup(path, column, group, first, rows)
        first += rows


def read_cell(cell: pa.Scalar, folder: str, name: str) -> Source:
    """Return the picture in a cell: its bytes, or its path, which may begin at `folder`, or what is at its URL."""
    if not _has_value(cell):
        raise ImageError(f"{name}: no picture: the row has neither bytes nor a path")
    found = picture_in(cell)
    if isinstance(found, str):
        return read_url(found) if is_url(found) else str(Path(folder, found))
    return found


def _has_value(cell: pa.Scalar) -> bool:
    if not cell.is_valid:
        return False
    if not pa.types.is_struct(cell.type):
        return True
    return any(cell[field.name].is_valid for field in cell.type if field.name in ("bytes", "path"))


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open a Parquet file; tell in a line what is wrong with it, now or later."""
    try:
        with pq.ParquetFile(open_url(path) if is_url(path) else path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ImageError(f"{path}: no Parquet file, or a damaged one ({reason(error)}): get it again") from error
