"""Images in tars and WebDataset shards, on disk or behind a URL, also compressed; nothing is unpacked to disk.

Many threads read an uncompressed tar on disk, each at the position of its member; other tars are read sequentially.
"""

import bz2
import gzip
import lzma
import os
import threading
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
from ..support.files import check_regular
from ..support.other_files import TAR
from ..support.urls import is_url, redact
from .kinds import Distinct, is_hidden_member, is_member
from .outages import Opening, sorting_errors
from .passed_over import HEAD, PassedOver
from .storage import open_stream
from .tar_members import MAGIC, Member, codec_of, key_of, read_from, read_member, scan_tar
from .unit import Picture, Unit

_UNPACK: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "lzma": lzma.LZMAFile,
    "zstd": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"),
    "lz4": lambda file: pa.CompressedInputStream(pa.PythonFile(file, "r"), "lz4"),
}
_ENDLESS = 2**62  # in place of the size of a stream, which is unknown
_KEPT, _STEP = 2**14, 2**20
_MAX_LINKS = 8
"""Length of a chain of links that is followed."""


@dataclass(frozen=True)
class Tar(Unit):
    """The images in a tar: members with the suffix of an image format that are not hidden."""

    kind = "tar"
    path: str
    hosts: tuple[str, ...] | None = None
    """Hosts to which a URL may lead; None for any."""

    @property
    def name(self) -> str:
        """The path."""
        return redact(self.path)

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Yield the members from number `start` on, named `shard.tar/name`; a repeated name ends with `#2`.

        A link is read as the file of this tar that it leads to. Other links and devices fail when they are read.
        """
        numbers = count()
        return self.chosen(lambda name: next(numbers) >= start, passed_over)

    def chosen(
        self, is_wanted: Callable[[str], bool], passed_over: PassedOver | None = None
    ) -> Generator[Picture, None, None]:
        """Yield the members with wanted names. The bytes of others are not kept."""
        distinct, links = Distinct(), _Links(self.path, self.hosts)
        errors = sorting_errors(self.name, "not a tar, or damaged from here on", Opening(self.path, TAR))
        with errors, closing(_open(self.path, self.hosts)) as tar:
            for member in _members(tar):
                name = f"{self.name}/{member.name}"
                if member.kind != "folder" and is_member(member.name):
                    if is_wanted(name := distinct(name)):
                        yield _picture(tar, member, name, links)
                elif passed_over is not None and member.kind in ("file", "link") and not is_hidden_member(member.name):
                    passed_over.add(name, partial(tar.read_at, member.offset, min(HEAD, member.stored)))


def _picture(tar: "_OpenTar", member: Member, name: str, links: "_Links") -> Picture:
    match member.kind:
        case "file":
            return tar.picture(member, name)
        case "link":
            return Picture(name, partial(links.read, member.link, name))
        case "rest":
            problem = "the rest of a file that begins in another volume of the tar"
            advice = "unpack all volumes with tar --multi-volume"
        case _:
            problem, advice = "a device, not a file", "put the image itself into the tar"
    return Picture.failing(name, ImageError(f"{name}: {problem}: {advice}"))


def _open(path: str, hosts: tuple[str, ...] | None) -> "_OpenTar":
    if not is_url(path):
        check_regular(path, ImageError)
    file = open_stream(path, hosts) if is_url(path) else Path(path).open("rb")  # noqa: SIM115 - the tar closes it
    if codec := codec_of(file.peek(MAGIC)):
        return _StreamedTar(_UNPACK[codec](file), file)
    return _StreamedTar(file, file) if is_url(path) else _LocalTar(file)


def _members(tar: "_OpenTar") -> Iterator[Member]:
    return scan_tar(tar.read_at, 0, tar.size, marked=True)


class _LocalTar:
    """An uncompressed tar on disk, read at any position by any thread. It stays open until its last picture is gone."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor, self.size = os.dup(file.fileno()), os.fstat(file.fileno()).st_size
        file.close()
        self.read_at = read_from(self._descriptor)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def close(self) -> None:
        """Do nothing, since pictures may still be read."""

    def picture(self, member: Member, name: str) -> Picture:
        return Picture(name, partial(self._read, member, name))

    def _read(self, member: Member, name: str) -> bytes:
        with sorting_errors(name, "cannot be unpacked"):
            return read_member(self.read_at, member, name)


class _StreamedTar:
    """A tar that is read sequentially: the bytes of a member are read right after its header."""

    size = _ENDLESS

    def __init__(self, stream: Any, file: BinaryIO) -> None:
        self._stream, self._file = stream, file
        self._position, self._tail = 0, b""

    def close(self) -> None:
        self._stream.close()
        self._file.close()

    def read_at(self, place: int, size: int) -> bytes:
        """Read forward. Only the last `_KEPT` bytes can be read again."""
        again = self._position - place
        if again > len(self._tail):
            raise ValueError(f"byte {place} is no longer in memory")
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


_OpenTar = _LocalTar | _StreamedTar


class _Links:
    """The files that links in a tar lead to, found by reading the tar again when the first link is read."""

    def __init__(self, path: str, hosts: tuple[str, ...] | None) -> None:
        self._path, self._hosts, self._lock = path, hosts, threading.Lock()
        self._found: tuple[dict[str, str], dict[str, Picture]] | None = None

    def read(self, link: str, name: str) -> Any:
        """Return the bytes of the file that a link leads to. Raises `ImageError` or `UnreachableError`."""
        with self._lock, sorting_errors(name, "damaged"):
            self._found = self._found or self._find()
        links, pictures = self._found
        for _ in range(_MAX_LINKS):
            link = links.get(link, link)
        if link not in pictures:
            raise ImageError(f"{name}: a link to {link!r}, which is not in the tar or too large: add the file itself")
        return pictures[link].read()

    def _find(self) -> tuple[dict[str, str], dict[str, Picture]]:
        """Return the links by key, and the files that they lead to; from a stream, at most `LIMITS.bytes` in total."""
        with closing(_open(self._path, self._hosts)) as tar:
            links = {key_of(member.name): member.link for member in _members(tar) if member.kind == "link"}
        wanted, pictures, left = set(links.values()) - links.keys(), dict[str, Picture](), LIMITS.bytes
        with closing(_open(self._path, self._hosts)) as tar:
            for member in _members(tar):
                key = key_of(member.name)
                if member.kind == "file" and key in wanted and member.stored <= left:
                    pictures[key] = tar.picture(member, f"{redact(self._path)}/{member.name}")
                    left -= pictures[key].held
        return links, pictures
