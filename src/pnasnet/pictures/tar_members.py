"""Files in uncompressed tars, found once by their headers and then read by their place; nothing is unpacked.

Names and sizes in a tar are what anybody wrote there: no name is ever used as a path, and no size is believed
that leads out of the file.
"""

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, InputError
from ..images import LIMITS

_BLOCK = tarfile.BLOCKSIZE
_MAX_HEADER = 2**14  # tarfile takes a header's word for how long its long name is, and takes quadratic time for it
_MAX_HEADERS = 2**18  # of one member together: sparse files have a list of their parts, each with its word on the next
_MAX_OPEN = 256  # many systems allow a process 1024 files
DAMAGE = (tarfile.TarError, ValueError, OverflowError, LookupError, RecursionError)
"""What reading a tar raises that is none, or a damaged one."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: its name there, and where its `size` bytes begin in the file on disk."""

    name: str
    offset: int
    size: int


ReadAt = Callable[[int, int], bytes]
"""From a place and a size to the bytes there, fewer at the end of the file."""


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
            raise ValueError("a file that is longer than what there is")
        self._position = position
        return position

    def tell(self) -> int:
        return self._position


def find_members(path: str, place: Member | None = None) -> list[Member]:
    """Return the regular files in the tar at `path`, or in the tar that lies in it at `place`, in their order.

    Links, devices and sparse files are passed over.

    Raises:
        InputError: it is compressed, damaged, cut short, not a tar, not to be read, or holds a name twice.
    """
    where = repr(path) if place is None else f"{place.name!r} in {path!r}"
    try:
        with Path(path).open("rb", buffering=0) as file:
            start, size = (place.offset, place.size) if place else (0, os.fstat(file.fileno()).st_size)
            read_at = read_from(file.fileno())
            _refuse_compressed(read_at(start, _BLOCK), where)
            found = [member for member, is_file in scan_tar(read_at, start, size) if is_file]
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error.strerror}): check the path and the disk") from error
    except DAMAGE as error:
        raise InputError(f"{where} is no tar, or a damaged one ({error}): get it again") from error
    _refuse_twice(found, where)
    return found


def read_from(descriptor: int) -> ReadAt:
    """Return what reads an open file at any place."""
    return lambda place, size: os.pread(descriptor, size, place)


def scan_tar(read_at: ReadAt, start: int, size: int, *, marked: bool = False) -> Iterator[tuple[Member, bool]]:
    """Yield the members of a tar of `size` bytes that begins at `start`, and whether each is a regular file.

    It is read from one end to the other, a header at a time. Raises one of `DAMAGE` where it is damaged or no tar;
    with `marked`, also where the mark at the end is missing, as in one that was cut short between two members.
    """
    region = _Region(read_at, start, size)
    with tarfile.open(fileobj=region, mode="r:") as archive:
        position = 0
        while (member := archive.next()) is not None:
            region.left = _MAX_HEADERS
            archive.members = []  # type: ignore[attr-defined]  # or it keeps a kilobyte for each of a million
            if member.size < 0 or archive.offset <= position or member.offset_data + member.size > size:
                raise ValueError(f"{member.name!r} has an impossible size")
            position = archive.offset
            plain = Member(member.name, start + member.offset_data, member.size)
            yield plain, member.isreg() and not member.issparse()
        # tarfile takes a damaged header for the end; the end is a block of zeros, or that of the file.
        region.seek(position)
        end = region.read(_BLOCK)
        if any(end):
            raise ValueError(f"a damaged header at byte {position}")
        if marked and not end:
            raise ValueError(f"it ends at byte {position} without the mark of an end")


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
    """Reads pictures by their places in tars: a `Read`, for any number of threads, and for processes by pickling.

    Tars stay open, up to 256 of them, in each process for itself.
    """

    def __init__(self, tars: Sequence[str], places: npt.NDArray[np.int64], names: Sequence[str]) -> None:
        """Set up; nothing is opened yet.

        Args:
            tars: paths.
            places: [N, 3] int64: which tar, from which byte on, how many bytes.
            names: what each picture is called, for errors.
        """
        self._tars, self._places, self._names = tars, places, names
        self._descriptors: dict[int, int] = {}

    def __reduce__(self) -> tuple[type, tuple[Sequence[str], npt.NDArray[np.int64], Sequence[str]]]:
        """Pickle without the open files."""
        return PicturesInTars, (self._tars, self._places, self._names)

    def __del__(self) -> None:
        """Close the tars."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __call__(self, index: int) -> bytes:
        """Return the bytes of the picture at `index`. Raises `ImageError` if they are not to be had."""
        tar, offset, size = (int(number) for number in self._places[index])
        LIMITS.check_bytes(size, self._names[index])
        try:
            data = self._read(tar, offset, size)
        except OSError as error:
            raise ImageError(f"{self._names[index]}: cannot be read ({error.strerror}): check the disk") from error
        if len(data) != size:
            raise ImageError(f"{self._names[index]}: cut short: the tar has changed meanwhile, so start again")
        return data

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
