"""Images in Parquet files, on disk or behind a URL: bytes, paths, or structs of both."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..errors import ImageError, InputError, UnreachableError
from ..support.contexts import contextmanager
from ..support.other_files import PARQUET
from ..support.urls import is_url, redact
from .access import CLOSED, Access
from .columns import find_pictures, picture_in
from .outages import Opening, sorting_errors
from .passed_over import PassedOver
from .storage import open_random
from .unit import Picture, Unit

_BATCH = 1  # rows read at a time: each is a whole image, and may be large
_BUFFER = 1 << 20  # bytes of a column read at a time: row groups may have any size


@dataclass(frozen=True)
class RowGroup(Unit):
    """A row group of a Parquet file.

    Attributes:
        path: path of the file.
        column: name of the column of images.
        group: number of the row group in the file.
        first: number of its first row in the file.
        rows: number of its rows.
        roots: as in `Access`.
        hosts: as in `Access`.
    """

    kind = "parquet"
    path: str
    column: str
    group: int
    first: int
    rows: int
    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file and its first row."""
        return self.name_at(0)

    def name_at(self, number: int) -> str:
        """Return the file and its row."""
        return f"{redact(self.path)}#{self.first + number}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The file."""
        return (redact(self.path),)

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.rows

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Yield the rows from number `start` on, named `file.parquet#17` by their number in the file."""
        with opened(self.path) as file:
            yield from self.pictures_in(file, start)

    def pictures_in(self, file: pq.ParquetFile, start: int) -> Iterator[Picture]:
        """Yield the rows of the open file, from number `start` on."""
        folder, access = folder_of(self.path), Access(self.roots, self.hosts)
        batches = file.iter_batches(_BATCH, row_groups=[self.group], columns=[self.column])
        cells = ((cell, batch.nbytes // len(batch)) for batch in batches for cell in batch.column(0))
        for number, (cell, held) in enumerate(islice(cells, start, None), start):
            name = self.name_at(number)
            yield Picture(name, partial(picture_in, cell, folder, access, name), held)


@dataclass(frozen=True)
class Damaged(Unit):
    """A Parquet file with an unreadable header or without rows, which counts as one picture that fails."""

    kind = "damaged"
    path: str
    error: str

    @property
    def name(self) -> str:
        """The path."""
        return redact(self.path)

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Raise `ImageError`."""
        raise ImageError(self.error)


def row_groups(path: str, column: str | None = None, access: Access = CLOSED) -> Iterator[Unit]:
    """Yield the row groups of a file, or a `Damaged`.

    Raises `InputError` if the file cannot be reached, or has no column of images.
    """
    try:
        with opened(path) as file:
            groups = list(_groups_of(path, file, column, access))
            if not groups:
                raise ImageError(f"{redact(path)}: holds no image")
    except UnreachableError as error:
        raise InputError(str(error)) from error
    except ImageError as error:
        yield Damaged(path, str(error))
        return
    yield from groups


def rows_named(
    path: str,
    names: Collection[str],
    access: Access = CLOSED,
    column: str | None = None,
    hosts: tuple[str, ...] | None = None,
) -> Iterator[Picture]:
    """Yield the rows of a file with these names, in order. The file is opened once; only their row groups are read.
    A URL may lead to `hosts`; None for any.

    Raises `ImageError`, `UnreachableError`, or `InputError` if there is no column of images.
    """
    wanted = sorted({number for name in names if (number := row_number(name)) is not None})
    with opened(path, hosts) as file:
        for group in _groups_of(path, file, column, access):
            own = [number - group.first for number in wanted if 0 <= number - group.first < group.rows]
            if own:
                pictures = islice(group.pictures_in(file, own[0]), own[-1] - own[0] + 1)
                places = set(own)
                yield from (picture for number, picture in enumerate(pictures, own[0]) if number in places)


def row_number(name: str) -> int | None:
    """Return the 17 of `file.parquet#17`."""
    digits = name.rpartition("#")[2]
    return int(digits) if digits.isdecimal() and len(digits) < 20 else None


def folder_of(path: str) -> str:
    """Return the folder of a file, or the URL of one without its query."""
    return path.partition("?")[0].rpartition("/")[0] if is_url(path) else str(Path(path).parent)


@contextmanager
def opened(path: str, hosts: tuple[str, ...] | None = None) -> Iterator[Any]:
    """Open a Parquet file for reading in small pieces. A URL may lead to `hosts`; None for any.

    The smallest piece is a page, whose header may state up to 2 GB after decompression. pyarrow shows no page headers
    and has no limit for them, and the sizes in a file's footer may be too small, so a page is always read whole.

    Raises `ImageError` or `UnreachableError`, of one line, now or while the file is read.
    """
    with (
        sorting_errors(redact(path), "not a Parquet file, or damaged", Opening(path, PARQUET)),
        pq.ParquetFile(open_random(path, hosts), buffer_size=_BUFFER, pre_buffer=False) as file,
    ):
        yield file


def _groups_of(path: str, file: pq.ParquetFile, column: str | None, access: Access) -> Iterator[RowGroup]:
    found, first = find_pictures(file.schema_arrow, redact(path), column), 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if rows:
            yield RowGroup(path, found, group, first, rows, access.roots, access.hosts)
        first += rows
