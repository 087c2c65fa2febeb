"""Download one file over HTTP: resumable, bounded, and whole or absent."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PnasnetError
from ..support import files, http
from ..support.contexts import contextmanager
from ..support.progress import bar
from ..support.text import clean
from ..support.urls import redact
from .archive import MAX_BYTES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from urllib3 import BaseHTTPResponse

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d+/(\d+|\*)")
_LENGTH = re.compile(r"\d{1,18}")
_VERSION = re.compile(r"[ -~]+")
"""Matches an ETag or a date: printable ASCII."""
_RANGE_NOT_SATISFIABLE = 416


class DownloadError(Exception):
    """The reason why a file cannot be downloaded. `fetch` turns it into an error with advice."""


class _BrokenError(DownloadError):
    """An attempt failed, and another one may succeed."""


writing = partial(files.writing, hint="free some space, or set PNASNET_CACHE to another folder")
"""Turns an OSError in the block into an `OutputError` that suggests another cache folder."""


def download(address: str, target: Path, *, progress: bool) -> None:
    """Download `address` to `target`, which appears whole or not at all. Its folder must exist.

    The bytes received so far are in `target` + `.partial`. The next attempt or run resumes there if the server still
    has the same version of the file, by its ETag or date.

    Raises:
        DownloadError: the file cannot be downloaded whole.
        OutputError: the file cannot be written. The bytes received so far are kept.
    """
    partial_file = _Partial(
        target.with_name(f"{target.name}.partial"), target.with_name(f"{target.name}.partial.version")
    )
    http.retrying(partial(_attempt, address, partial_file, progress), lambda error: not isinstance(error, _BrokenError))
    with writing(target):
        partial_file.path.replace(target)
        partial_file.discard()


@dataclass(frozen=True)
class _Partial:
    """The bytes received so far, and the version of the file they belong to."""

    path: Path
    version_path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str:
        """The stored version; empty if it is missing or damaged."""
        stored = self.version_path.read_text("latin-1") if self.version_path.exists() else ""
        return stored if _VERSION.fullmatch(stored) else ""

    def restart(self, version: str) -> None:
        self.path.write_bytes(b"")  # first: a version must never be beside the bytes of another one
        self.version_path.write_text(version, "ascii")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.version_path.unlink(missing_ok=True)


def _attempt(address: str, unfinished: _Partial, progress: bool) -> None:
    with writing(unfinished.path), _open(address, unfinished) as response:
        size, total = _start(response, unfinished)
        name = redact(address).rpartition("/")[2]
        shown = bar(progress, total=total, initial=size, unit="B", unit_scale=True, unit_divisor=1024, desc=name)
        with shown, unfinished.path.open("ab") as file:
            for block in _body(response, unfinished):
                size += len(block)
                if size > MAX_BYTES:
                    unfinished.discard()
                    raise DownloadError(f"the server sends more than the limit of {MAX_BYTES:,} bytes")
                file.write(block)
                shown.update(len(block))
    if total is not None and size < total:
        raise _BrokenError(f"the connection broke off after {size:,} of {total:,} bytes")


def _open(address: str, unfinished: _Partial) -> "AbstractContextManager[BaseHTTPResponse]":
    size, version = unfinished.size, unfinished.version
    headers = {"Range": f"bytes={size}-", "If-Range": version} if size and version else None
    with _connection(unfinished):
        return closing(http.get(address, headers))


@contextmanager
def _connection(unfinished: _Partial) -> Iterator[None]:
    """Turn errors of the connection into a `DownloadError`, or a `_BrokenError` if another attempt may succeed."""
    try:
        yield
    except PnasnetError:
        raise
    except Exception as error:  # of urllib3, and OSError
        if isinstance(error, http.StatusError):
            if error.status == _RANGE_NOT_SATISFIABLE:
                unfinished.discard()
            elif http.is_answer(error):
                raise DownloadError(http.reason(error)) from error
            raise _BrokenError(http.reason(error)) from error
        kind = DownloadError if http.is_permanent(error) else _BrokenError
        raise kind(f"the connection failed ({http.reason(error)})") from error


def _start(response: "BaseHTTPResponse", unfinished: _Partial) -> tuple[int, int | None]:
    """Return the number of bytes already received, and the total if the server states it."""
    version, length = _version(response), _length(response)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity" and not unfinished.path.name.endswith((".gz.partial", ".tgz.partial")):
        raise DownloadError(f"the server sends it encoded as {clean(encoding)}, which cannot be resumed")
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        size = unfinished.size
        total = None if length is None else size + length
        if not match or int(match[1]) != size or version != unfinished.version or match[2] not in ("*", str(total)):
            unfinished.discard()
            raise _BrokenError("the server did not send the rest of the file")
    else:
        size, total = 0, length
        unfinished.restart(version)
    if total is not None and total > MAX_BYTES:
        raise DownloadError(f"the server announces {total:,} bytes, more than the limit of {MAX_BYTES:,}")
    return size, total


def _length(response: "BaseHTTPResponse") -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if _LENGTH.fullmatch(length) else None


def _version(response: "BaseHTTPResponse") -> str:
    """Return the file's strong ETag, else its date of modification, else an empty text."""
    etag = response.headers.get("ETag", "")
    version: str = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    return version if _VERSION.fullmatch(version) else ""


def _body(response: "BaseHTTPResponse", unfinished: _Partial) -> Iterator[bytes]:
    from urllib3.exceptions import IncompleteRead, ProtocolError

    while True:
        with _connection(unfinished):
            try:
                block = response.read1(http.BLOCK)
            except ProtocolError as error:
                if not isinstance(error.args[-1], IncompleteRead):
                    raise
                return  # `_attempt` reports the sum
        if not block:
            return
        yield block
