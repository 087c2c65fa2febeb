"""Files in uncompressed tars, found once by their headers and then read by their places; nothing is unpacked.

Names and sizes in a tar are whatever somebody wrote there: no name is used as a path, and no size that leads out of the
file is believed.
"""

import io
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..images import LIMITS
from ..support import files

_BLOCK = tarfile.BLOCKSIZE
_MAX_HEADER = 2**14  # tarfile believes the length that a header claims for a long name, and needs quadratic time for it
_MAX_HEADERS = 2**18  # of one member together: sparse files have a list of their parts, each naming the next
_MAX_OPEN = 256  # many systems allow a process 1024 files
DAMAGE = (tarfile.TarError, ValueError, OverflowError, LookupError, RecursionError)
"""Raised while reading a damaged tar, or something that is no tar."""
_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
}  # fmt: skip
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a tar.

    Attributes:
        name: as in the tar.
        offset: where its bytes begin in the file on disk.
        size: the number of its bytes.
        parts: of a sparse file, where its stored parts lie within it: pairs of offset and size.
        link: of a hard or symbolic link, the key (`key_of`) of the member it leads to.
        is_file: whether it has bytes of its own.
    """

    name: str
    offset: int
    size: int
    parts: tuple[tuple[int, int], ...] = ()
    link: str = ""
    is_file: bool = True

    @property
    def stored(self) -> int:
        """The number of bytes in the tar."""
        return sum(size for _, size in self.parts) if self.parts else self.size


ReadAt = Callable[[int, int], bytes]
"""From a place and a size to the bytes there, fewer at the end of the file."""


def key_of(name: str) -> str:
    """Return what is the same for all spellings of a member's name: `./a.jpg` is `a.jpg`."""
    return posixpath.normpath(name)


def read_member(read_at: ReadAt, member: Member, name: str) -> bytes:
    """Return the bytes of a file. Raises `ImageError`, with `name`; and what `read_at` raises."""
    LIMITS.check_bytes(member.size, name)
    data = read_at(member.offset, member.stored)
    if len(data) != member.stored:
        raise ImageError(f"{name}: cut short: the tar ends before it, or has changed; get it again")
    if not member.parts:
        return data
    whole, start = bytearray(member.size), 0
    for place, size in member.parts:
        whole[place : place + size] = data[start : start + size]
        start += size
    return bytes(whole)


def read_from(descriptor: int) -> ReadAt:
    """Return a function that reads an open file at any place."""
    return lambda place, size: os.pread(descriptor, size, place)


class _Region(io.RawIOBase):
    """`size` bytes of a file, from `start` on, as tarfile reads them; few at a time."""

    def __init__(self, read_at: ReadAt, start: int, size: int) -> None:
        self._read_at, self._start, self._size, self._position = read_at, start, size, 0
        self.left = _MAX_HEADERS

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise ValueError(f"a header of {size} bytes")
        size = max(0, min(size, self._size - self._position))
        self.left -= size
        if self.left < 0:
            raise ValueError(f"headers of more than {_MAX_HEADERS} bytes before a file")
        data = self._read_at(self._start + self._position, size)
        self._position += len(data)
        return data

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if not 0 <= position <= self._size:
            raise ValueError("a file that is longer than the tar")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position


def scan_tar(read_at: ReadAt, start: int, size: int, *, marked: bool = False) -> Iterator[Member]:
    """Yield the members of a tar, and of those appended to it (`cat a.tar b.tar`).

    It is read from beginning to end, one header at a time. Raises one of `DAMAGE` if it is damaged or no tar.

    Args:
        read_at: reads the file it lies in.
        start: where it begins there.
        size: the number of its bytes.
        marked: whether the mark at the end must be there; a tar that was cut between two members lacks it.
    """
    region = _Region(read_at, start, size)
    more = True
    while more:
        yield from _scan_one(region, start, size)
        more = _skip_end(region, marked)


def _scan_one(region: _Region, start: int, size: int) -> Iterator[Member]:
    """Yield the members of the archive at the region's position, and leave it behind the last of them."""
    with tarfile.open(fileobj=region, mode="r:") as archive:
        position = region.tell() - _BLOCK  # of the header that was read when the archive was opened
        position = max(position, 0)
        while (info := archive.next()) is not None:
            region.left = _MAX_HEADERS
            archive.members = []  # type: ignore[attr-defined]  # or it keeps a kilobyte for each of a million
            member = _member(info, start)
            end = info.offset_data + member.stored
            if info.size < 0 or archive.offset <= position or end > size:
                raise ValueError(f"{info.name!r} has an impossible size")
            position = archive.offset
            yield member
        region.left = _MAX_HEADERS
        region.seek(position)


def _member(info: tarfile.TarInfo, start: int) -> Member:
    link = ""
    if info.type in _LINKS:
        folder = posixpath.dirname(info.name) if info.issym() else ""
        link = key_of(posixpath.join(folder, info.linkname))
    sparse: Any = info.sparse if info.issparse() else ()
    parts: tuple[tuple[int, int], ...] = tuple(sparse or ())
    if any(place < 0 or size < 0 or place + size > info.size for place, size in parts):
        raise ValueError(f"{info.name!r} has parts beyond its end")
    return Member(info.name, start + info.offset_data, info.size, parts, link, info.isreg())


def _skip_end(region: _Region, marked: bool) -> bool:
    """Pass over the mark at the end, two or more blocks of zeros; return whether another archive follows."""
    position = region.tell()
    block = region.read(_BLOCK)
    if any(block):  # tarfile reports a damaged header as the end
        raise ValueError(f"a damaged header at byte {position}")
    if marked and not block:
        raise ValueError(f"it ends at byte {position} without the mark of an end")
    while block and not any(block):
        region.left = _MAX_HEADERS
        position = region.tell()
        block = region.read(_BLOCK)
    if not block:
        return False
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise ValueError(f"something that is no tar follows its end, at byte {position}") from None
    region.seek(position)
    return True


def find_members(path: str, place: Member | None = None) -> list[Member]:
    """Return the regular files in the tar at `path`, or in the tar that lies in it at `place`, in order.

    Links to files of the tar are returned with the places of those files. Other links, devices and sparse files are
    ignored.

    Raises:
        InputError: it is compressed, damaged, cut short, not a tar, unreadable, or holds a name twice.
    """
    where = repr(path) if place is None else f"{place.name!r} in {path!r}"
    with files.reading(where), Path(path).open("rb", buffering=0) as file:
        start, size = (place.offset, place.size) if place else (0, os.fstat(file.fileno()).st_size)
        read_at = read_from(file.fileno())
        _refuse_compressed(read_at(start, _BLOCK), where)
        try:
            members = [member for member in scan_tar(read_at, start, size) if not member.parts]
        except DAMAGE as error:
            raise InputError(f"{where} is no tar, or a damaged one ({error}): get it again") from error
    targets = {key_of(member.name): member for member in members if member.is_file}
    found = [
        Member(member.name, target.offset, target.size)
        for member in members
        if (target := member if member.is_file else targets.get(member.link))
    ]
    _refuse_twice(found, where)
    return found


def _refuse_compressed(head: bytes, where: str) -> None:
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise InputError(
                f"{where} is compressed with {name}, where no picture can be found by its place: unpack it"
            )


def _refuse_twice(members: Sequence[Member], where: str) -> None:
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise InputError(f"{where} holds {member.name!r} twice: remove one, or rename it")
        seen.add(member.name)


class PicturesInTars:
    """Reads pictures by their places in tars, from any number of threads; it can be pickled.

    Tars stay open, up to 256 of them in each process.
    """

    def __init__(self, tars: Sequence[str], places: npt.NDArray[np.int64], names: Sequence[str]) -> None:
        """Open nothing yet.

        Args:
            tars: paths.
            places: [N, 3] int64: number of the tar, first byte, number of bytes.
            names: what each picture is called in errors.
        """
        self._tars, self._places, self._names = tars, places, names
        self._descriptors: dict[int, int] = {}

    def __reduce__(self) -> tuple[type, tuple[Sequence[str], npt.NDArray[np.int64], Sequence[str]]]:
        return PicturesInTars, (self._tars, self._places, self._names)

    def __del__(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __call__(self, index: int) -> bytes:
        """Return the bytes of the picture at `index`. Raises `ImageError` if they cannot be read."""
        tar, offset, size = (int(number) for number in self._places[index])
        name = self._names[index]
        with files.reading(name, "check the disk", ImageError):
            return read_member(lambda place, count: self._read(tar, place, count), Member(name, offset, size), name)

    def _read(self, tar: int, offset: int, size: int) -> bytes:
        descriptor = self._descriptors.get(tar)
        if descriptor is not None:
            return os.pread(descriptor, size, offset)
        descriptor = os.open(self._tars[tar], os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        # Without a lock, which a forked process could find taken for ever: of two threads, one keeps its own.
        kept = len(self._descriptors) < _MAX_OPEN and self._descriptors.setdefault(tar, descriptor) == descriptor
        try:
            return os.pread(descriptor, size, offset)
        finally:
            if not kept:
                os.close(descriptor)
