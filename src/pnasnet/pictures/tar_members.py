"""Files in uncompressed tars: found once by their headers, then read in place; nothing is unpacked.

Names and sizes in a tar are not trusted: no name is used as a path, and sizes beyond the end of the file are errors.
"""

import io
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..images import LIMITS
from ..support import files

_BLOCK = tarfile.BLOCKSIZE
_MAX_HEADER = 2**14  # tarfile trusts the stated length of a long name, and needs quadratic time for it
_MAX_HEADERS = 2**18  # for all headers of a member: those of a sparse file list its parts, each referring to the next
DAMAGE = (tarfile.TarError, ValueError, OverflowError, LookupError, RecursionError)
"""Errors raised while reading a damaged tar or another file."""
MAGIC = 6
"""Number of bytes that tell how a tar is compressed."""
_CODECS = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"]\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
MemberKind = Literal["file", "link", "folder", "rest", "device"]
_KINDS: dict[bytes, MemberKind] = {
    **dict.fromkeys(tarfile.REGULAR_TYPES, "file"),
    **dict.fromkeys((tarfile.LNKTYPE, tarfile.SYMTYPE), "link"),
    tarfile.DIRTYPE: "folder",
    b"M": "rest",  # of GNU tar
}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar.

    Attributes:
        name: name in the tar.
        offset: position of its first byte in the file on disk.
        size: number of its bytes.
        parts: (offset, size) of each stored part of a sparse file, within that file.
        kind: what it is; a `rest` is that of a file that begins in another volume of the tar.
        link: key (`key_of`) of the member that a link, hard or symbolic, leads to.
    """

    name: str
    offset: int
    size: int
    parts: tuple[tuple[int, int], ...] = ()
    kind: MemberKind = "file"
    link: str = ""

    @property
    def stored(self) -> int:
        """Number of bytes stored in the tar."""
        return sum(size for _, size in self.parts) if self.parts else self.size


ReadAt = Callable[[int, int], bytes]
"""Returns the bytes at a position, of a given number, or fewer at the end of the file."""


def codec_of(head: bytes) -> str | None:
    """Return the codec of a compressed file from its first `MAGIC` bytes, or None."""
    return next((codec for magic, codec in _CODECS.items() if head.startswith(magic)), None)


def key_of(name: str) -> str:
    """Return the normal form of a member's name: `./a.jpg` becomes `a.jpg`."""
    return posixpath.normpath(name)


def read_member(read_at: ReadAt, member: Member, name: str) -> bytes:
    """Return the bytes of a file. Raises `ImageError`, with `name`, and the errors of `read_at`."""
    LIMITS.check_bytes(member.size, name)
    data = read_at(member.offset, member.stored)
    if len(data) != member.stored:
        raise ImageError(f"{name}: truncated, because the tar ends before it or has changed: get the tar again")
    if not member.parts:
        return data
    whole, start = bytearray(member.size), 0
    for place, size in member.parts:
        whole[place : place + size] = data[start : start + size]
        start += size
    return bytes(whole)


def read_from(descriptor: int) -> ReadAt:
    """Return a function that reads an open file at any position."""
    return lambda place, size: os.pread(descriptor, size, place)


class _Region(io.RawIOBase):
    """A file of `size` bytes from `start` on, for tarfile; only small reads are allowed."""

    def __init__(self, read_at: ReadAt, start: int, size: int) -> None:
        self._read_at, self._start, self._size, self._position = read_at, start, size, 0
        self.left = _MAX_HEADERS

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise ValueError(f"a header of {size} bytes")
        size = max(0, min(size, self._size - self._position))
        self.left -= size
        if self.left < 0:
            raise ValueError(f"headers of more than {_MAX_HEADERS} bytes for one file")
        data = self._read_at(self._start + self._position, size)
        self._position += len(data)
        return data

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if not 0 <= position <= self._size:
            raise ValueError("a file longer than the tar")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position


def scan_tar(read_at: ReadAt, start: int, size: int, *, marked: bool = False) -> Iterator[Member]:
    """Yield the members of a tar, and of tars appended to it (`cat a.tar b.tar`).

    Headers are read one at a time, in order. Raises one of `DAMAGE` if the tar is damaged or is not a tar.

    Args:
        read_at: reads the file that contains the tar.
        start: position of the tar in that file.
        size: number of bytes of the tar.
        marked: whether the end mark is required; it is missing from a tar that was cut between two members.
    """
    region = _Region(read_at, start, size)
    more = True
    while more:
        yield from _scan_one(region, start, size)
        more = _skip_end(region, marked)


def _scan_one(region: _Region, start: int, size: int) -> Iterator[Member]:
    """Yield the members of the archive at the region's position, and leave the position after the last of them."""
    with tarfile.open(fileobj=region, mode="r:") as archive:
        position = max(region.tell() - _BLOCK, 0)  # of the header that was read when the archive was opened
        while (info := archive.next()) is not None:
            region.left = _MAX_HEADERS
            archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps about 1 kB for each member
            member = _member(info, start)
            end = info.offset_data + member.stored
            if info.size < 0 or archive.offset <= position or end > size:
                raise ValueError(f"{info.name!r} has an impossible size")
            position = archive.offset
            yield member
        region.left = _MAX_HEADERS
        region.seek(position)


def _member(info: tarfile.TarInfo, start: int) -> Member:
    kind, link = _KINDS.get(info.type, "device"), ""
    if kind == "link":
        folder = posixpath.dirname(info.name) if info.issym() else ""
        link = key_of(posixpath.join(folder, info.linkname))
    sparse: Any = info.sparse if info.issparse() else ()
    parts: tuple[tuple[int, int], ...] = tuple(sparse or ())
    if any(place < 0 or size < 0 or place + size > info.size for place, size in parts):
        raise ValueError(f"{info.name!r} has parts beyond its end")
    return Member(info.name, start + info.offset_data, info.size, parts, kind, link)


def _skip_end(region: _Region, marked: bool) -> bool:
    """Skip the end mark, which is two or more blocks of zeros. Return whether another archive follows."""
    position = region.tell()
    block = region.read(_BLOCK)
    if any(block):  # tarfile treats a damaged header as the end
        raise ValueError(f"a damaged header at byte {position}")
    if marked and not block:
        raise ValueError(f"it ends at byte {position} without an end mark")
    while block and not any(block):
        region.left = _MAX_HEADERS
        position = region.tell()
        block = region.read(_BLOCK)
    if not block:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise ValueError(f"other data follow the end mark, at byte {position}") from None
    region.seek(position)
    return True


def find_members(path: str, place: Member | None = None) -> list[Member]:
    """Return the regular files in the tar at `path`, or in its member `place`, which is a tar itself, in order.

    Links to files of the tar are returned with the positions of those files. Other links, devices and sparse files are
    ignored.

    Raises:
        InputError: the tar is compressed, damaged, truncated, not a tar, unreadable, or has a name twice.
    """
    where = repr(path) if place is None else f"{place.name!r} in {path!r}"
    files.check_regular(path)
    with files.reading(where), Path(path).open("rb", buffering=0) as file:
        start, size = (place.offset, place.size) if place else (0, os.fstat(file.fileno()).st_size)
        read_at = read_from(file.fileno())
        if codec := codec_of(read_at(start, MAGIC)):
            raise InputError(f"{where} is compressed with {codec}, so images cannot be read in place: unpack it")
        try:
            members = [member for member in scan_tar(read_at, start, size) if not member.parts]
        except DAMAGE as error:
            raise InputError(f"{where} is not a tar, or damaged ({error}): get it again") from error
    targets = {key_of(member.name): member for member in members if member.kind == "file"}
    found = [
        Member(member.name, target.offset, target.size)
        for member in members
        if (target := member if member.kind == "file" else targets.get(member.link))
    ]
    seen: set[str] = set()
    for member in found:
        if member.name in seen:
            raise InputError(f"{where} contains {member.name!r} twice: remove one, or rename it")
        seen.add(member.name)
    return found


@dataclass(frozen=True)
class PicturesInTars:
    """Reads images in place, from any number of threads and processes.

    Attributes:
        tars: paths of the tars.
        places: int64 [N, 3]: for each image the number of its tar, its first byte and its number of bytes.
        names: name of each image in errors.
    """

    tars: Sequence[str]
    places: npt.NDArray[np.int64]
    names: Sequence[str]

    def __call__(self, index: int) -> bytes:
        """Return the bytes of image `index`. Raises `ImageError` if they cannot be read."""
        tar, offset, size = self.places[index].tolist()
        name = self.names[index]
        with (
            files.reading(name, "check the disk", ImageError),
            Path(self.tars[tar]).open("rb", buffering=0) as file,
        ):
            return read_member(read_from(file.fileno()), Member(name, offset, size), name)
