"""Files from outside: opened only if they are regular, memory-mapped, and every failure told in one line."""

import hashlib
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError, WeightsNotFoundError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into an error of ours."""
    try:
        yield
    except FileNotFoundError:
        raise WeightsNotFoundError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


class MappedFile:
    """The bytes of a file, read-only and memory-mapped; unmapped when no longer used."""

    def __init__(self, path: Path) -> None:
        """Map the file at `path`.

        Raises:
            WeightsNotFoundError: there is no such file.
            WeightsError: it may not be read, or is no regular file (a pipe or a device could block or never end).
        """
        with reading(path):
            # Without O_NONBLOCK, opening a named pipe would wait for a writer before it could be refused.
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
        """Give back the memory behind `bytes[start:end]`; it is read again from the file when it is used again."""
        if self._map is not None and hasattr(self._map, "madvise"):
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, page, end - page)


def map_file(path: Path) -> NDArray[np.uint8]:
    """Return the bytes of the file at `path`, with the errors of `MappedFile`."""
    return MappedFile(path).bytes


def sha256(paths: tuple[Path, ...]) -> str:
    """Return the SHA-256, in hexadecimal, of the files' bytes one after the other.

    Of one file it is what `sha256sum` prints. It is remembered for as long as the files do not change.
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
