"""Damaged for good, or unreachable for now: what goes wrong with files that hold many pictures."""

import errno
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from ..errors import ImageError, PnasnetError, UnreachableError
from ..support.http import reason
from ..support.urls import is_url
from .tar_members import DAMAGE

_DAMAGE = (*DAMAGE, zipfile.BadZipFile, lzma.LZMAError, zlib.error, pa.ArrowException, EOFError, RuntimeError)
_NO_OUTAGE = (errno.EINVAL, errno.EISDIR, errno.ELOOP)  # places before the first byte, folders, links in circles


@contextmanager
def sorting_errors(name: str, damaged: str) -> Iterator[None]:
    """Turn errors of opening and reading a file into one line: `ImageError`, or `UnreachableError`.

    Args:
        name: of the file, or of a picture in it, as shown to the user.
        damaged: what to say if the file is damaged.
    """
    try:
        yield
    except (PnasnetError, MemoryError):
        raise
    except Exception as error:  # every unpacker and every file system has its own
        if is_damage(error, remote=is_url(name)):
            raise ImageError(f"{name}: {damaged} ({reason(error)}): get it again") from error
        where = "address" if is_url(name) else "path and the disk"
        raise UnreachableError(
            f"{name}: cannot be read ({reason(error)}): check the {where}, or try again later"
        ) from error


def is_damage(error: Exception, *, remote: bool) -> bool:
    """Return whether an error is about the bytes that were read, and not about reading them."""
    if isinstance(error, zipfile.BadZipFile) and isinstance(error.__context__, OSError):
        error = error.__context__  # zipfile reports any OSError as the end of something that is no zip file
    if isinstance(error, OSError):
        # Unpackers raise OSError too, without a number; time limits are of a class of their own.
        plain = type(error) is OSError and error.errno is None
        return plain or isinstance(error, gzip.BadGzipFile) or error.errno in _NO_OUTAGE
    return isinstance(error, _DAMAGE) or not remote
