"""Pictures in zip files, read by their places; nothing is unpacked, and no name is used as a path."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ..errors import ImageError
from ..images import LIMITS
from ..support.http import retrying
from ..support.urls import is_url, redact
from .kinds import Distinct, is_member
from .outages import is_damage, sorting_errors
from .storage import open_url
from .unit import Picture, Unit

_ENCRYPTED = 1


@dataclass(frozen=True)
class Zip(Unit):
    """A zip file; its members with the suffix of a picture that are not hidden."""

    kind = "zip"
    is_one_file = True
    path: str

    @property
    def name(self) -> str:
        """Its path."""
        return redact(self.path)

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the members from number `start` on, named `shard.zip/name`, while they are read."""
        with sorting_errors(self.name, "no zip file, or a damaged one"):
            # Never closed explicitly: other threads read pictures, the last ones after this generator has ended.
            archive = zipfile.ZipFile(open_url(self.path) if is_url(self.path) else self.path)
        members = [info for info in archive.infolist() if not info.is_dir() and is_member(info.filename)]
        distinct = Distinct()
        for number, info in enumerate(members):
            name = distinct(f"{self.name}/{info.filename}")
            if number >= start:
                yield Picture(name, partial(_read, archive, info, name))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise ImageError(f"{name}: encrypted: unpack the zip file with its password, and give the folder")
    LIMITS.check_bytes(info.file_size, name)
    with sorting_errors(name, "cannot be unpacked"):
        if is_url(name):
            data = retrying(partial(_unpack, archive, info), partial(is_damage, remote=True))
        else:
            data = _unpack(archive, info)
    LIMITS.check_bytes(len(data), name)
    return data


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(LIMITS.bytes + 1)
