"""Sorts errors of files that contain many images: damaged, or unreachable for now."""

import errno
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from ..errors import ImageError, PnasnetError, UnreachableError
from ..images import format_of
from ..support.contexts import contextmanager
from ..support.files import read_head
from ..support.http import RefusedError, reason
from ..support.other_files import FIRST, TAR, OtherFile, other_file
from ..support.urls import is_url
from .storage import refused
from .tar_members import DAMAGE

_DAMAGE = (*DAMAGE, zipfile.BadZipFile, lzma.LZMAError, zlib.error, pa.ArrowException, EOFError, RuntimeError)
_NO_OUTAGE = (errno.EINVAL, errno.EISDIR, errno.ELOOP)  # negative offsets, folders, links that form a loop


class Opening(NamedTuple):
    """A file that is being opened: its path or URL, and the kind as which it is opened."""

    path: str
    kind: OtherFile


@contextmanager
def sorting_errors(name: str, damaged: str, opening: Opening | None = None) -> Iterator[None]:
    """Turn errors of opening and reading a file into an `ImageError` or an `UnreachableError` of one line.

    Args:
        name: name of the file, or of an image in it, as shown to the user.
        damaged: text of the error if the file is damaged.
        opening: the file, if it is being opened: if it is of another kind, the error names that instead.
    """
    try:
        yield
    except (PnasnetError, MemoryError):
        raise
    except RefusedError as error:
        raise refused(name, error) from error
    except Exception as error:  # every decompressor and every file system has its own classes
        if is_damage(error, remote=is_url(name)):
            if opening and (other := _other_kind(*opening)):
                raise ImageError(f"{name}: {other}") from error
            raise ImageError(f"{name}: {damaged} ({reason(error)}): get it again") from error
        where = "address" if is_url(name) else "path and the disk"
        raise UnreachableError(
            f"{name}: cannot be read ({reason(error)}): check the {where}, or try again later"
        ) from error


def _other_kind(path: str, kind: OtherFile) -> str | None:
    """Return what a local file is instead of `kind`, with what to do; None if that is not known."""
    head = b"" if is_url(path) else read_head(path, FIRST)
    if image := format_of(head[:32]):
        return f"an image ({image.name}), not {kind.name}: name it {image.suffixes[0]}"
    found = other_file(head)
    if found is None or found == kind or (found.compressed and kind == TAR):
        return None
    return f"{found.name}, not {kind.name}: {found.advice}"


def is_damage(error: Exception, *, remote: bool) -> bool:
    """Return whether an error is caused by the content of a file, not by a failure to read it."""
    if isinstance(error, zipfile.BadZipFile) and isinstance(error.__context__, OSError):
        error = error.__context__  # zipfile raises BadZipFile for any OSError at the end of the file
    if isinstance(error, OSError):
        # Decompressors raise OSError without a number; timeouts have a class of their own.
        plain = type(error) is OSError and error.errno is None
        return plain or isinstance(error, gzip.BadGzipFile) or error.errno in _NO_OUTAGE
    return isinstance(error, _DAMAGE) or not remote
