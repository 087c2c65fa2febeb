"""Features on disk, found again by the contents of their pictures.

    features.parquet        of the run before, whole
    features.parts/         what a run has extracted so far; gone once it is in the file

The file has the rows that `embed` writes, in the order of the data, and the digest of each picture's bytes: neither a
new name nor a new place in the data makes a picture another one.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import OutputError
from ..support.files import replacing

CONTENT = "content"
_PART_SECONDS = 20.0
"""A run that is killed loses no more than this."""


class KeptFeatures:
    """The features of one network with one preprocessing."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Take the file's path, and the schema of the rows, whose metadata say what the features are of."""
        self._path, self._parts = path, path.with_suffix(".parts")
        self._schema = schema.append(pa.field(CONTENT, pa.binary(16)))
        self._pending: list[pa.Table] = []
        self._since = time.monotonic()

    @property
    def is_whole(self) -> bool:
        """Whether all that was kept is in the file."""
        return self._path.exists() and not self._parts.exists()

    def read(self) -> pa.Table:
        """Return the rows that were kept; files of another network or preprocessing, or damaged ones, are left out."""
        tables = [self._read(path) for path in (self._path, *sorted(self._parts.glob("*.parquet")))]
        return pa.concat_tables([self._schema.empty_table(), *(table for table in tables if table is not None)])

    def _read(self, path: Path) -> pa.Table | None:
        try:
            table = pq.read_table(path)
            same = table.schema.metadata == self._schema.metadata
            return table.cast(self._schema) if same else None  # Parquet has another name for the elements of a list
        except (OSError, ValueError, pa.ArrowException):
            return None

    def add(self, table: pa.Table, contents: Sequence[bytes | None]) -> None:
        """Keep new rows, whose pictures have these digests. Raises `OutputError` where they cannot be written."""
        self._pending.append(self._with_contents(table, contents))
        if time.monotonic() - self._since >= _PART_SECONDS:
            self._flush()

    def _flush(self) -> None:
        with self._writing():
            self._parts.mkdir(exist_ok=True)
            number = 1 + max((int(path.stem) for path in self._parts.glob("[0-9]*.parquet")), default=-1)
            self._write(self._parts / f"{number:06}.parquet", pa.concat_tables(self._pending))
        self._pending, self._since = [], time.monotonic()

    def complete(self, table: pa.Table, contents: Sequence[bytes | None]) -> None:
        """Write the rows of all pictures, in the order of the data. Raises `OutputError` where they cannot be."""
        with self._writing():
            self._write(self._path, self._with_contents(table, contents))
            if self._parts.exists():
                shutil.rmtree(self._parts)
        self._pending = []

    def _with_contents(self, table: pa.Table, contents: Sequence[bytes | None]) -> pa.Table:
        return pa.table([*table.columns, pa.array(contents, pa.binary(16))], self._schema)

    def _write(self, path: Path, table: pa.Table) -> None:
        with replacing(path) as temporary, temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", use_dictionary=False)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error
