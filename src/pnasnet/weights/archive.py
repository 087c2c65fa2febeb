"""Unpack the `.tar.gz` archives of published models without trusting their names or sizes."""

import errno
import gzip
import io
import re
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from ..errors import CorruptWeightsError, OutputError
from ..support.files import writing
from .files import MappedFile
from .sstable import MAX_BYTES as MAX_INDEX_BYTES

MAX_BYTES = 4 * 2**30
"""Limit of the unpacked archive; the largest published network has well below 1 GiB."""
MAX_MEMBERS = 10_000
MAX_GRAPH_BYTES = 2**29
"""Limit of a SavedModel's graph in an archive; a frozen one of the largest published network has 345 MB."""

_CHUNK = 2**20
_NEEDED = {
    r"checkpoint|tfhub_module\.pb": 2**20,
    r"saved_model\.pb": MAX_GRAPH_BYTES,
    r".+\.index": MAX_INDEX_BYTES,
    r".+\.data-\d{5}-of-\d{5}": MAX_BYTES,
}
"""The names of the files that readers of weights need, and the size that each may have."""
_DAMAGE = (
    tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError, LookupError, RecursionError
)  # fmt: skip

_HINT = "set TMPDIR to a folder with more space"
_NAME_ERRORS = {errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
"""Errors caused by names in the archive; all others come from the disk."""


class _BoundedReader(io.RawIOBase):
    """The unpacked bytes of a gzip file: at most `MAX_BYTES`, forward only, and in small reads.

    tarfile reads as many bytes at once as a header claims, which a small gzip file can supply, and seeks wherever
    another header points.
    """

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def read(self, size: int = _CHUNK, /) -> bytes:
        if size > _CHUNK or self.tell() + size > MAX_BYTES + _CHUNK:
            raise ValueError("it claims more bytes than any weights have")
        return self._file.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if not self.tell() <= position <= MAX_BYTES:
            raise ValueError("it claims more bytes than any weights have")
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def unpack(path: Path) -> Path:
    """Unpack the `.tar.gz` at `path` into a new temporary folder and return it; the caller removes it.

    Only the files that readers of weights need are written.

    Raises:
        CorruptWeightsError: the archive is damaged or too large, or contains a link, a device, or a name that leads out
            of the folder.
        OutputError: the temporary folder cannot be written.
    """
    MappedFile(path)  # raises if it cannot be read
    with writing(f"the unpacked {path.name}", _HINT):
        folder = Path(tempfile.mkdtemp(prefix="pnasnet-"))
    try:
        with writing(folder, _HINT):
            _unpack(path, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        cause = error.__cause__ if isinstance(error, OutputError) else error
        if isinstance(cause, _DAMAGE) or (isinstance(cause, OSError) and cause.errno in _NAME_ERRORS):
            raise CorruptWeightsError(f"{path} is damaged: {cause}; download it again") from error
        raise
    return folder


def _unpack(path: Path, folder: Path) -> None:
    with gzip.open(path) as file:
        reader = _BoundedReader(file)
        with tarfile.open(fileobj=reader, mode="r:") as archive:
            for count, member in enumerate(archive):
                if count == MAX_MEMBERS:
                    raise ValueError(f"it holds more than {MAX_MEMBERS} files")
                archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps every header
                _extract(archive, member, folder)
        # tarfile mistakes a damaged header for the end; gzip's checksum, at the very end, reveals it.
        while reader.read():
            pass


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise ValueError(f"{member.name!r} leads out of its folder")
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise ValueError(f"{member.name!r} is not a regular file")
    source = archive.extractfile(member)
    most = next((size for pattern, size in _NEEDED.items() if re.fullmatch(pattern, name.name)), None)
    if source is None or most is None:
        return
    if member.size > most:
        raise ValueError(f"{member.name!r} claims {member.size:,} bytes, more than {most:,}")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as output:
        while chunk := source.read(_CHUNK):
            output.write(chunk)
