"""Images in zip files, read in place; nothing is unpacked to disk, and no member's name is used as a path."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ..errors import ImageError
from ..images import LIMITS
from ..support.http import retrying
from ..support.other_files import ZIP
from ..support.urls import is_url, redact
from .kinds import Distinct, is_hidden_member, is_member
from .outages import Opening, is_damage, sorting_errors
from .passed_over import HEAD, PassedOver
from .storage import open_random
from .unit import Picture, Unit

_ENCRYPTED = 1


@dataclass(frozen=True)
class Zip(Unit):
    """The images in a zip file: members with the suffix of an image format that are not hidden."""

    kind = "zip"
    path: str
    hosts: tuple[str, ...] | None = None
    """Hosts to which a URL may lead; None for any."""

    @property
    def name(self) -> str:
        """The path."""
        return redact(self.path)

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Yield the members from number `start` on, named `shard.zip/name`."""
        with sorting_errors(self.name, "not a zip file, or damaged", Opening(self.path, ZIP)):
            # Never closed explicitly: other threads read pictures, the last ones after this generator has ended.
            archive = zipfile.ZipFile(open_random(self.path, self.hosts))
        _check_whole(archive, self.name)
        members = [info for info in archive.infolist() if not info.is_dir() and not is_hidden_member(info.filename)]
        distinct, number = Distinct(), 0
        for info in members:
            name = f"{self.name}/{info.filename}"
            if is_member(info.filename):
                name, number = distinct(name), number + 1
                if number > start:
                    yield Picture(name, partial(_read, archive, info, name))
            elif passed_over is not None:
                passed_over.add(name, bytes if is_url(self.path) else partial(_head, archive, info))


def _check_whole(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse the last part of a split archive, which lists members of all parts."""
    if any(info.volume for info in archive.infolist()):
        raise ImageError(f"{name}: a part of a split archive: join the parts first, as zip -s 0 does")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise ImageError(f"{name}: encrypted: unpack the zip file with its password, and pass the folder")
    LIMITS.check_bytes(info.file_size, name)
    unpack = partial(_unpack, archive, info)
    with sorting_errors(name, "cannot be unpacked"):
        try:
            data = retrying(unpack, partial(is_damage, remote=True)) if is_url(name) else unpack()
        except NotImplementedError as error:  # a method of compression or encryption
            advice = "unpack the zip file with another program, and pass the folder"
            raise ImageError(f"{name}: packed by a method that is not known here: {advice}") from error
    LIMITS.check_bytes(len(data), name)
    return data


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int = LIMITS.bytes + 1) -> bytes:
    with archive.open(info) as file:
        return file.read(size)


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return _unpack(archive, info, HEAD)
    except Exception:  # damaged, encrypted or compressed by an unknown method
        return b""
