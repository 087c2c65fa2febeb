"""Pictures in Parquet files, as Hugging Face writes them: bytes, paths, or structs of both; on disk or behind a URL."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from ..datasets.columns import find_pictures
from ..errors import ImageError, InputError
from ..images import Source
from .container import reading
from .storage import UnreachableError, is_url, open_url, read_url
from .unit import Picture, Unit

_BATCH = 8  # rows decoded at a time: they are whole pictures
_BUFFER = 1 << 20  # of a column at a time: row groups may be of any size


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
        return self.name_at(0)

    def name_at(self, number: int) -> str:
        """The file and its row."""
        return f"{self.path}#{self.first + number}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The file."""
        return (self.path,)

    @property
    def size(self) -> int:
        """How many rows."""
        return self.rows

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the rows from number `start` on, called `file.parquet#17` by their number in the file."""
        with _opened(self.path) as file:
            yield from self.pictures_in(file, start)

    def pictures_in(self, file: pq.ParquetFile, start: int) -> Iterator[Picture]:
        """Yield the rows of the file, which is open, from number `start` on."""
        folder = _folder_of(self.path)
        batches = file.iter_batches(_BATCH, row_groups=[self.group], columns=[self.column])
        cells = (cell for batch in batches for cell in batch.column(0))
        for number, cell in enumerate(islice(cells, start, None), start):
            name = self.name_at(number)
            yield Picture(name, partial(read_cell, cell, folder, name))


@dataclass(frozen=True)
class Damaged(Unit):
    """A Parquet file whose row groups cannot be known: one picture that fails."""

    kind = "damaged"
    path: str
    error: str

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Raise `ImageError`."""
        raise ImageError(self.error)


def row_groups(path: str) -> Iterator[Unit]:
    """Yield the row groups of a file, or that it is damaged.

    Raises `InputError` where it cannot be reached, or holds no pictures.
    """
    try:
        with _opened(path) as file:
            groups = list(_groups_of(path, file))
    except UnreachableError as error:
        raise InputError(str(error)) from error
    except ImageError as error:
        yield Damaged(path, str(error))
        return
    yield from groups


def rows_named(path: str, names: Collection[str]) -> Iterator[Picture]:
    """Yield the rows of a file that are called so, in order; it is opened once, and only their row groups are read.

    Raises `ImageError`, `UnreachableError`; `InputError` where it holds no pictures.
    """
    wanted = sorted({number for name in names if (number := row_number(name)) is not None})
    with _opened(path) as file:
        for group in _groups_of(path, file):
            own = [number - group.first for number in wanted if 0 <= number - group.first < group.rows]
            if own:
                pictures = islice(group.pictures_in(file, own[0]), own[-1] - own[0] + 1)
                places = set(own)
                yield from (picture for number, picture in enumerate(pictures, own[0]) if number in places)


def row_number(name: str) -> int | None:
    """Return the 17 of `file.parquet#17`."""
    digits = name.rpartition("#")[2]
    return int(digits) if digits.isdecimal() and len(digits) < 20 else None


def _groups_of(path: str, file: pq.ParquetFile) -> Iterator[RowGroup]:
    column, first = find_pictures(file.schema_arrow, path), 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        yield RowGroup(path, column, group, first, rows)
        first += rows


def read_cell(cell: pa.Scalar, folder: str, name: str) -> Source:
    """Return the picture in a cell: its bytes, or its path, which may begin at `folder`, or what is at its URL.

    Raises:
        ImageError: there is none; or it is at an absolute path where `folder` is a URL.
    """
    found = _content(cell)
    if found is None:
        raise ImageError(f"{name}: no picture: the row has neither bytes nor a path")
    if not isinstance(found, str):
        return found
    if is_url(found):
        return read_url(found)
    if not is_url(folder):
        return str(Path(folder, found))
    if found.startswith("/"):
        raise ImageError(f"{name}: {found!r} is a path on the machine that wrote the file: write pictures into it")
    return read_url(f"{folder}/{quote(found) if folder.startswith('http') else found}")


def _folder_of(path: str) -> str:
    """Return the folder of a file, or the URL of one, without what follows a question mark."""
    return path.partition("?")[0].rpartition("/")[0] if is_url(path) else str(Path(path).parent)


def _content(cell: pa.Scalar) -> str | bytes | None:
    """Return the bytes in a cell, or else its path or URL."""
    if not cell.is_valid or not pa.types.is_struct(cell.type):
        content: str | bytes | None = cell.as_py()
        return content
    fields = [cell[name] for name in ("bytes", "path") if cell.type.get_field_index(name) >= 0]
    return next((field.as_py() for field in fields if field.is_valid), None)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Open a Parquet file, to be read bit by bit; tell in a line what is wrong with it, now or later."""
    with (
        reading(path, "no Parquet file, or a damaged one"),
        pq.ParquetFile(open_url(path) if is_url(path) else path, buffer_size=_BUFFER, pre_buffer=False) as file,
    ):
        yield file
