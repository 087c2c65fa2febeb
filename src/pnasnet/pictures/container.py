"""Files that hold many pictures: one that cannot be read is damaged, for good, or out of reach, for now."""

import errno
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from ..errors import ImageError, PnasnetError
from .storage import UnreachableError, is_url, reason
from .tar_members import DAMAGE

_DAMAGE = (*DAMAGE, zipfile.BadZipFile, lzma.LZMAError, zlib.error, pa.ArrowException, EOFError, RuntimeError)
_NO_OUTAGE = (errno.EINVAL, errno.EISDIR, errno.ELOOP)  # places before the first byte, folders, links in circles


@contextmanager
def reading(name: str, damaged: str) -> Iterator[None]:
    """Turn what comes of opening and reading a file into `ImageError`, of one line, or `UnreachableError`.

    Args:
        name: of the file, or of a picture in it: its path or URL, and what follows.
        damaged: what is wrong where it is damaged.
    """
    try:
        yield
    except (PnasnetError, MemoryError):
        raise
    except Exception as error:  # every unpacker and every file system has its own
        if is_damage(error, remote=is_url(name)):
            raise ImageError(f"{name}: {damaged} ({reason(error)}): get it again") from error
        said = getattr(error, "strerror", None) or reason(error)
        where = "address" if is_url(name) else "path and the disk"
        raise UnreachableError(f"{name}: cannot be read ({said}): check the {where}, or try again later") from error


def is_damage(error: Exception, *, remote: bool) -> bool:
    """Whether an error tells of what was read, and not of the way to it."""
    if isinstance(error, zipfile.BadZipFile) and isinstance(error.__context__, OSError):
        error = error.__context__  # zipfile takes any for the end of what is no zip file
    if isinstance(error, OSError):
        # Unpackers raise OSError too, without a number; so do time limits, but of a class of their own.
        plain = type(error) is OSError and error.errno is None
        return plain or isinstance(error, gzip.BadGzipFile) or error.errno in _NO_OUTAGE
    return isinstance(error, _DAMAGE) or not remote
