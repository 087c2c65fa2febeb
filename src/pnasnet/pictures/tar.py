"""Pictures in tars and WebDataset shards, on disk or behind a URL, also compressed ones; nothing is unpacked.

An uncompressed tar on disk is read by its members' places, by many threads; others from one end to the other.
"""

import bz2
import gzip
import io
import lzma
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import ImageError
from ..images import LIMITS, is_image_path
from .container import reading
from .storage import is_url, open_stream
from .tar_members import Member, ReadAt, read_from, scan_tar
from .unit import Picture, Unit

_MAGIC = 6
_UNPACK: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_ENDLESS = 2**62  # the size of a stream, which only its end tells
_KEPT, _STEP = 2**14, 2**20


@dataclass(frozen=True)
class Tar(Unit):
    """A tar; its members with a suffix of a picture."""

    kind = "tar"
    is_one_file = True
    path: str

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the members from number `start` on, called `shard.tar/name`; links and devices fail when read."""
        numbers = count()
        return self.chosen(lambda name: next(numbers) >= start)

    def chosen(self, is_wanted: Callable[[str], bool]) -> Generator[Picture, None, None]:
        """Yield the members whose names are wanted; of a stream, the bytes of others are not kept."""
        with reading(self.path, "no tar, or damaged from here on"), closing(_open(self.path)) as tar:
            for member, is_file in scan_tar(tar.read_at, 0, tar.size, marked=True):
                name = f"{self.path}/{member.name}"
                if is_image_path(member.name) and is_wanted(name):
                    yield Picture(name, tar.reader(member, name)) if is_file else Picture.failing(name, _refused(name))


def _refused(name: str) -> ImageError:
    return ImageError(f"{name}: a link or a device, not a file: put the picture itself into the tar")


class _OpenTar(ABC):
    """A tar that is being read."""

    read_at: ReadAt
    size: int

    @abstractmethod
    def reader(self, member: Member, name: str) -> Callable[[], bytes]:
        """Return what gives a member's bytes; called when its header has just been read."""

    def close(self) -> None:  # noqa: B027 - not every one can be closed here
        """Say that no more headers will be read."""


def _open(path: str) -> _OpenTar:
    file = open_stream(path) if is_url(path) else Path(path).open("rb")  # noqa: SIM115 - the tar closes it
    head = file.read(_MAGIC)
    rest = cast("BinaryIO", io.BufferedReader(_Joined(head, file), _STEP))
    for magic, unpack in _UNPACK.items():
        if head.startswith(magic):
            return _StreamedTar(unpack(rest), file)
    return _StreamedTar(rest, file) if is_url(path) else _LocalTar(file)


class _LocalTar(_OpenTar):
    """Read at any place by any thread. It stays open until the last reader is gone, so nobody closes it by hand."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor, self.size = os.dup(file.fileno()), os.fstat(file.fileno()).st_size
        file.close()
        self.read_at = read_from(self._descriptor)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def reader(self, member: Member, name: str) -> Callable[[], bytes]:
        return partial(_read_member, self.read_at, member, name, self)


class _StreamedTar(_OpenTar):
    """Read from one end to the other: a member's bytes are taken while the stream is there."""

    size = _ENDLESS

    def __init__(self, stream: BinaryIO, file: BinaryIO) -> None:
        self._stream, self._file = stream, file
        self._position, self._tail = 0, b""

    def close(self) -> None:
        self._stream.close()
        self._file.close()

    def read_at(self, place: int, size: int) -> bytes:
        """Read forward; the last few bytes can be read again."""
        again = self._position - place
        if again > len(self._tail):
            raise ValueError(f"byte {place} has gone by")
        while self._position < place:
            if not self._take(min(_STEP, place - self._position)):
                return b""
        kept = self._tail[len(self._tail) - again :] if again > 0 else b""
        return kept[:size] if size <= len(kept) else kept + self._take(size - len(kept))

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        self._tail = (self._tail + data)[-_KEPT:] if len(data) < _KEPT else data[-_KEPT:]
        return data

    def reader(self, member: Member, name: str) -> Callable[[], bytes]:
        if 0 < member.size <= LIMITS.bytes:
            data = _read_member(self.read_at, member, name)
            return lambda: data
        return partial(LIMITS.check_bytes, member.size, name)  # type: ignore[return-value] # which raises


def _read_member(read_at: ReadAt, member: Member, name: str, owner: object = None) -> bytes:
    """Return a member's bytes; `owner` is what must not be closed before."""
    LIMITS.check_bytes(member.size, name)
    with reading(name, "cannot be unpacked"):
        data = read_at(member.offset, member.size)
    if len(data) != member.size:
        raise ImageError(f"{name}: cut short: the tar ends before it; get it again")
    return data


class _Joined(io.RawIOBase):
    """The first bytes of a file, which have been read already, and the rest of it."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head, self._file = head, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # any buffer will do
        data = self._head[: len(buffer)] or self._file.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)
