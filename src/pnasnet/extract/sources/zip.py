"""Pictures in zip files, read by their places; nothing is unpacked, and no name is used as a path."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ...errors import ImageError
from ...images import LIMITS, is_image_path
from .storage import is_url, open_url
from .unit import Picture, Unit

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)


@dataclass(frozen=True)
class Zip(Unit):
    """A zip file; its members with a suffix of a picture."""

    kind = "zip"
    path: str

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the members from number `start` on, called `shard.zip/name`. They are read while this goes on."""
        try:
            # Never closed by hand: pictures are read by other threads, the last ones after this has ended.
            archive = zipfile.ZipFile(open_url(self.path) if is_url(self.path) else self.path)
        except _DAMAGE as error:
            raise ImageError(f"{self.path}: no zip file, or a damaged one ({error}): get it again") from error
        members = [info for info in archive.infolist() if not info.is_dir() and is_image_path(info.filename)]
        for info in members[start:]:
            name = f"{self.path}/{info.filename}"
            yield Picture(name, partial(_read, archive, info, name))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> bytes:
    LIMITS.check_bytes(info.file_size, name)
    try:
        with archive.open(info) as file:
            data = file.read(LIMITS.bytes + 1)
    except _DAMAGE as error:
        raise ImageError(f"{name}: cannot be unpacked ({error}): get the zip file again") from error
    LIMITS.check_bytes(len(data), name)
    return data
