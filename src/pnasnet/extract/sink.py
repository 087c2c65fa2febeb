"""The Parquet file of vectors: complete under its own name, or what was finished under another."""

import errno
import os
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from ..errors import OutputError
from ..support.files import check_target
from .pipeline import Batch
from .schema import GROUP_BYTES, VectorType, nbytes, writer

_FOOTER_BYTES = 128 << 10
_FOOTER_BYTES_PER_GROUP = 4 << 10


class ParquetSink:
    """Writes rows to a Parquet file, as `schema` describes; use it in a `with` statement.

    While it is written, `features.parquet` is called `features.partial.parquet`. It takes its name when the `with`
    block ends well, at once and in place of whatever had it. When the block ends with an error, a full disk included,
    the partial file is completed with the rows done so far, and a note on the error says so.
    """

    def __init__(self, path: str | os.PathLike[str], vectors: VectorType, *, overwrite: bool = False) -> None:
        """Create the partial file.

        Args:
            path: where the complete file is to be.
            vectors: the columns of vectors, and the metadata.
            overwrite: whether to replace what is there.

        Raises:
            OutputError: the folder is missing or not to be written; or, unless `overwrite`, `path` exists, or so does
                the partial file, which an interrupted run left or another one is writing.
        """
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.stem}.partial{self.path.suffix}")
        self.rows = 0
        """How many rows are in the file."""
        self._vectors = vectors
        self._pending: list[Batch] = []
        self._groups = 0
        try:
            self._check(overwrite)
            self._create(overwrite)
        except OSError as error:
            raise self._failed(error) from error
        self._writer = writer(self._stream, vectors.schema(), vectors.columns)

    def write(self, batch: Batch) -> None:
        """Take a batch; it reaches the file once a row group is full. Raises `OutputError` where it cannot."""
        self._pending.append(batch)
        if nbytes(self._pending) >= GROUP_BYTES:
            self._flush()

    def write_table(self, table: pa.Table) -> None:
        """Write the rows of a table of the same columns. Raises `OutputError` where they cannot be written."""
        self._flush()
        self._write(table)

    def __enter__(self) -> "ParquetSink":
        """Return the sink."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the file: under its own name, or after an error as the partial one. Raises `OutputError`."""
        failure = error
        if not isinstance(error, OutputError):
            try:
                self._flush()
            except OutputError as full:
                failure = failure or full
        try:
            self._complete()
            if failure is None:
                self.partial.replace(self.path)
            elif self.rows:
                failure.add_note(f"the first {self.rows:,} rows are in {self.partial}")
            else:
                self.partial.unlink()
        except OSError as lost:
            failure = failure or self._failed(lost)
            failure.add_note(f"{self.partial} could not be completed: {lost.strerror or lost}")
        if failure is not None and failure is not error:
            raise failure

    def _flush(self) -> None:
        """Write what is pending as a row group, whole or not at all."""
        batches, self._pending = self._pending, []
        if not batches:
            return
        self._write(self._vectors.table(batches))

    def _write(self, table: pa.Table) -> None:
        if not len(table):
            return
        try:
            self._reserve(table.nbytes)
            self._writer.write_table(table.cast(self._vectors.schema()), row_group_size=len(table))
        except OSError as error:
            raise self._failed(error) from error
        self.rows += len(table)
        self._groups += 1

    def _reserve(self, size: int) -> None:
        """Make sure of the space for `size` bytes of rows, and for the footer that makes what precedes them a file."""
        start = self._stream.tell()
        length = size + size // 16 + _FOOTER_BYTES + _FOOTER_BYTES_PER_GROUP * (self._groups + 1)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), start, length)
        else:
            self._file.seek(start)
            self._file.write(bytes(length))
            self._file.flush()

    def _complete(self) -> None:
        """Write the footer and give back the space that is left."""
        self._writer.close()
        length = self._stream.tell()
        self._stream.close()
        with self._file as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def _check(self, overwrite: bool) -> None:
        check_target(self.path)
        if self.path.exists() and not overwrite:
            raise OutputError(f"{self.path} exists: choose another name, or overwrite it (--overwrite, overwrite=True)")
        if self.partial.exists() and not overwrite:
            raise OutputError(
                f"{self.partial} exists: another run is writing it, or was interrupted and left its rows there; "
                "move it away, or overwrite it (--overwrite, overwrite=True)"
            )

    def _create(self, overwrite: bool) -> None:
        # Space is reserved through one descriptor and filled through the other, which never meets a full disk.
        self._file = self.partial.open("wb" if overwrite else "xb")
        self._stream = pa.OSFile(str(self.partial), "wb")
        try:
            self._reserve(0)
        except OSError:
            self._stream.close()
            self._file.close()
            self.partial.unlink()
            raise

    def _failed(self, error: OSError) -> OutputError:
        hint = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return OutputError(f"cannot write {self.partial}: {error.strerror or error}; {hint}write elsewhere")
