"""The vectors of a folder by the digests of the images' bytes, so that equal images are computed once.

The most recent vectors are kept in memory. The others are read from their parts: a database in the folder stores part
and row of each digest. So memory does not grow with the number of images.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

import pyarrow.parquet as pq

from ..errors import OutputError
from .columns import ColumnVectors
from .folder import CONTENTS, FeatureFolder
from .part import reading_part

_RECENT_BYTES = 96 << 20  # more than a part holds, so that all other vectors are on disk


def digest_of(content: bytes | bytearray | memoryview) -> bytes:
    """Return the BLAKE2b digest of an image's bytes, 16 bytes."""
    return blake2b(content, digest_size=16).digest()


class Contents:
    """The vectors of a folder's rows by the digests of their images. Methods raise `OutputError` if the disk fails."""

    def __init__(self, folder: FeatureFolder) -> None:
        self._folder = folder
        self._recent: OrderedDict[bytes, ColumnVectors] = OrderedDict()
        self._recent_bytes = 0
        try:
            with ExitStack() as if_it_fails:
                self._database = sqlite3.connect(folder.path / CONTENTS)
                if_it_fails.callback(self.close)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS contents "
                    "(digest BLOB PRIMARY KEY, part TEXT NOT NULL, row INTEGER NOT NULL) WITHOUT ROWID"
                )
                if_it_fails.pop_all()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def find(self, digest: bytes) -> ColumnVectors | None:
        """Return the vectors [F] of the image with this digest, or None if it is new."""
        return self._recent.get(digest) or self._from_part(digest)

    def add(self, digest: bytes, vectors: ColumnVectors) -> None:
        """Keep new vectors [F] in memory. `keep` must record where they are written."""
        self._recent[digest] = vectors
        self._recent_bytes += sum(vector.nbytes for vector in vectors.values())
        while self._recent_bytes > _RECENT_BYTES and len(self._recent) > 1:
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= sum(vector.nbytes for vector in oldest.values())

    def keep(self, part: str, rows: Iterable[tuple[bytes | None, int]]) -> None:
        """Record the digest and number of each row of a part that has been written."""
        places = [(digest, part, row) for digest, row in rows if digest]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", places)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _from_part(self, digest: bytes) -> ColumnVectors | None:
        try:
            place = self._database.execute("SELECT part, row FROM contents WHERE digest = ?", (digest,)).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if place is None or not (self._folder.path / place[0]).is_file():
            return None
        vectors = _read_row(self._folder.path / place[0], place[1])
        if vectors is not None:
            self.add(digest, vectors)
        return vectors

    def _failed(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"cannot use {self._folder.path / CONTENTS}: {error}; free some space, or leave out --deduplicate"
        )


def _read_row(path: Path, row: int) -> ColumnVectors | None:
    """Return the vectors of a row, reading only its row group; None if the part was replaced and has no such row."""
    with reading_part(path), pq.ParquetFile(path) as part:
        names = [name for name in part.schema_arrow.names if name.startswith("embedding")]
        for group in range(part.num_row_groups):
            rows = part.metadata.row_group(group).num_rows
            if row < rows:
                table = part.read_row_group(group, columns=names).slice(row, 1)
                if table[names[0]].null_count:
                    return None
                return {name: table[name].combine_chunks().flatten().to_numpy() for name in names}
            row -= rows
    return None
