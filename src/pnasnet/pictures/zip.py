"""Pictures in zip files, read by their places; nothing is unpacked, and no name is used as a path."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ..images import LIMITS, is_image_path
from .container import is_damage, reading
from .storage import is_url, open_url, trying
from .unit import Picture, Unit


@dataclass(frozen=True)
class Zip(Unit):
    """A zip file; its members with a suffix of a picture."""

    kind = "zip"
    is_one_file = True
    path: str

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the members from number `start` on, called `shard.zip/name`. They are read while this goes on."""
        with reading(self.path, "no zip file, or a damaged one"):
            # Never closed by hand: pictures are read by other threads, the last ones after this has ended.
            archive = zipfile.ZipFile(open_url(self.path) if is_url(self.path) else self.path)
        members = [info for info in archive.infolist() if not info.is_dir() and is_image_path(info.filename)]
        for info in members[start:]:
            name = f"{self.path}/{info.filename}"
            yield Picture(name, partial(_read, archive, info, name))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    LIMITS.check_bytes(info.file_size, name)
    with reading(name, "cannot be unpacked"):
        if is_url(name):
            data = trying(partial(_unpack, archive, info), partial(is_damage, remote=True))
        else:
            data = _unpack(archive, info)
    LIMITS.check_bytes(len(data), name)
    return data


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(LIMITS.bytes + 1)
