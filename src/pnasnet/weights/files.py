"""Untrusted files: regular files only, memory-mapped, with one line for each error."""

import hashlib
import mmap
import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError, WeightsNotFoundError
from ..support import files
from ..support.contexts import contextmanager


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a `WeightsError` or `WeightsNotFoundError` that names `path`."""
    with files.reading(path, kind=WeightsError):
        try:
            yield
        except FileNotFoundError:
            raise WeightsNotFoundError(f"{path} does not exist: check the path") from None


class MappedFile:
    """The bytes of a file, read-only and memory-mapped; unmapped when no longer used.

    Raises `WeightsNotFoundError` for a missing file, and `WeightsError` for one that cannot be read or is not a regular
    file: a pipe or a device could block or never end.
    """

    def __init__(self, path: Path) -> None:
        with reading(path):
            # Without O_NONBLOCK, opening a named pipe would wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise WeightsError(f"cannot read {path}: it is not a regular file")
                # An empty file cannot be mapped.
                self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if status.st_size else None
            finally:
                os.close(descriptor)  # the mapping stays
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map or b"", np.uint8)

    def release(self, start: int, end: int) -> None:
        """Free the memory behind `bytes[start:end]`; later uses read the file again."""
        if self._map is not None and hasattr(self._map, "madvise"):
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, page, end - page)


def sha256(paths: tuple[Path, ...]) -> str:
    """Return the SHA-256, in hexadecimal, of the concatenated files; cached as long as they do not change.

    For one file it is what `sha256sum` prints.
    """
    stamps = []
    for path in paths:
        with reading(path):
            status = path.stat()
        stamps.append((path, status.st_size, status.st_mtime_ns))
    return _sha256(tuple(stamps))


@lru_cache(maxsize=64)
def _sha256(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        with reading(path), path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    return digest.hexdigest()
