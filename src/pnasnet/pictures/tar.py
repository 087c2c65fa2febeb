"""Pictures in tars and WebDataset shards, on disk or behind a URL, also compressed; nothing is unpacked.

An uncompressed tar on disk is read by its members' places, by many threads; others from beginning to end.
"""

import bz2
import gzip
import lzma
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ..errors import ImageError
from ..images import LIMITS
from ..support.urls import is_url, redact
from .kinds import Distinct, is_member
from .outages import sorting_errors
from .storage import open_stream
from .tar_members import Member, ReadAt, key_of, read_from, read_member, scan_tar
from .unit import Picture, Unit

_MAGIC = 6
_UNPACK: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"]\0\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
    b"\x04\x22\x4d\x18": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "lz4"),
}
_ENDLESS = 2**62  # the size of a stream, which only its end tells
_KEPT, _STEP = 2**14, 2**20
_MAX_LINKS = 8
"""Links that lead to each other before a file must follow."""


@dataclass(frozen=True)
class Tar(Unit):
    """A tar; its members with the suffix of a picture that are not hidden."""

    kind = "tar"
    is_one_file = True
    path: str

    @property
    def name(self) -> str:
        """Its path."""
        return redact(self.path)

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the members from number `start` on, named `shard.tar/name`; the second of a name ends with `#2`.

        Links are read as the files of this tar that they lead to; other links and devices fail when they are read.
        """
        numbers = count()
        return self.chosen(lambda name: next(numbers) >= start)

    def chosen(self, is_wanted: Callable[[str], bool]) -> Generator[Picture, None, None]:
        """Yield the members whose names are wanted; of a stream, the bytes of others are not kept."""
        distinct, links = Distinct(), _Links(self.path)
        with sorting_errors(self.name, "no tar, or damaged from here on"), closing(_open(self.path)) as tar:
            for member in tar.members():
                if is_member(member.name) and is_wanted(name := distinct(f"{self.name}/{member.name}")):
                    yield _picture(tar, member, name, links)


def _picture(tar: "_OpenTar", member: Member, name: str, links: "_Links") -> Picture:
    if member.is_file:
        return tar.picture(member, name)
    if member.link:
        return Picture(name, partial(links.read, member.link, name))
    return Picture.failing(name, ImageError(f"{name}: a device, not a file: put the picture itself into the tar"))


class _OpenTar(ABC):
    """A tar that is being read."""

    read_at: ReadAt
    size: int

    def members(self) -> Iterator[Member]:
        """Yield the members."""
        return scan_tar(self.read_at, 0, self.size, marked=True)

    @abstractmethod
    def picture(self, member: Member, name: str) -> Picture:
        """Return a file as a picture; called when its header has just been read."""

    def close(self) -> None:  # noqa: B027 - not every one can be closed here
        """Read no more headers."""


def _open(path: str) -> _OpenTar:
    file = open_stream(path) if is_url(path) else Path(path).open("rb")  # noqa: SIM115 - the tar closes it
    head = file.peek(_MAGIC)
    for magic, unpack in _UNPACK.items():
        if head.startswith(magic):
            return _StreamedTar(unpack(file), file)
    return _StreamedTar(file, file) if is_url(path) else _LocalTar(file)


class _LocalTar(_OpenTar):
    """Read at any place by any thread. It stays open until its last picture is gone, so nobody closes it explicitly."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor, self.size = os.dup(file.fileno()), os.fstat(file.fileno()).st_size
        file.close()
        self.read_at = read_from(self._descriptor)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def picture(self, member: Member, name: str) -> Picture:
        return Picture(name, partial(self._read, member, name))

    def _read(self, member: Member, name: str) -> bytes:
        with sorting_errors(name, "cannot be unpacked"):
            return read_member(self.read_at, member, name)


class _StreamedTar(_OpenTar):
    """Read from beginning to end: a member's bytes are read when the stream has come to them."""

    size = _ENDLESS

    def __init__(self, stream: Any, file: BinaryIO) -> None:
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
        data: bytes = self._stream.read(size)
        self._position += len(data)
        self._tail = (self._tail + data)[-_KEPT:] if len(data) < _KEPT else data[-_KEPT:]
        return data

    def picture(self, member: Member, name: str) -> Picture:
        try:
            LIMITS.check_bytes(member.size, name)
        except ImageError as error:
            return Picture.failing(name, error)
        with sorting_errors(name, "cannot be unpacked"):
            data = read_member(self.read_at, member, name)
        return Picture(name, lambda: data, held=len(data))


class _Links:
    """The files of a tar that its links lead to; found when the first link is read, by reading the tar again."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, threading.Lock()
        self._found: tuple[dict[str, str], dict[str, Picture]] | None = None

    def read(self, link: str, name: str) -> Any:
        """Return the bytes of the file that the link of this key leads to. Raises `ImageError`, `UnreachableError`."""
        with self._lock, sorting_errors(name, "damaged"):
            self._found = self._found or self._find()
        links, pictures = self._found
        for _ in range(_MAX_LINKS):
            link = links.get(link, link)
        if link not in pictures:
            raise ImageError(f"{name}: a link to {link!r}, which is not in the tar, or behind too much: put it there")
        return pictures[link].read()

    def _find(self) -> tuple[dict[str, str], dict[str, Picture]]:
        """Return the links by key, and the files they lead to: of a stream, `LIMITS.bytes` bytes together."""
        with closing(_open(self._path)) as tar:
            links = {key_of(member.name): member.link for member in tar.members() if member.link}
        wanted, pictures, left = set(links.values()) - links.keys(), dict[str, Picture](), LIMITS.bytes
        with closing(_open(self._path)) as tar:
            for member in tar.members():
                key = key_of(member.name)
                if member.is_file and key in wanted and member.stored <= left:
                    pictures[key] = tar.picture(member, f"{redact(self._path)}/{member.name}")
                    left -= pictures[key].held
        return links, pictures
