"""One file over HTTP: resumed where the connection broke, bounded, and complete or absent."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..errors import PnasnetError
from ..support import files, http
from ..support.text import clean
from ..support.urls import redact
from .archive import MAX_BYTES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from urllib3 import BaseHTTPResponse

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_RANGE_NOT_SATISFIABLE = 416


class DownloadError(Exception):
    """A file that could not be downloaded, and why; `fetch` catches it and adds what else to do."""


class _BrokenError(DownloadError):
    """An attempt that failed, where another one may not."""


def writing(path: Path) -> "AbstractContextManager[None]":
    """Turn an OSError in the block into an `OutputError` that suggests another cache folder."""
    return files.writing(path, "free some space, or set PNASNET_CACHE to another folder")


def download(address: str, target: Path, *, progress: bool) -> None:
    """Download `address` to `target`, which appears complete or not at all; its folder must exist.

    Bytes received so far stay in `target` + `.partial` for the next attempt or the next run. They are continued only if
    the server names the file's version (by an ETag or a date) and still has that version.

    Raises:
        DownloadError: the file could not be downloaded whole.
        OutputError: it could not be written; the bytes received so far are kept.
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
    """The beginning of a file, and the version of the file that it belongs to."""

    path: Path
    version_path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str:
        return self.version_path.read_text() if self.version_path.exists() else ""

    def restart(self, version: str) -> None:
        self.path.write_bytes(b"")  # first, so that no version stands beside the bytes of another
        self.version_path.write_text(version)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.version_path.unlink(missing_ok=True)


def _attempt(address: str, begun: _Partial, progress: bool) -> None:
    with writing(begun.path), _open(address, begun) as response:
        size, total = _start(response, begun)
        name = redact(address).rpartition("/")[2]
        hide = None if progress else True  # None: only if standard error is no terminal
        bar = tqdm(total=total, initial=size, unit="B", unit_scale=True, unit_divisor=1024, desc=name, disable=hide)
        with bar, begun.path.open("ab") as file:
            for block in _body(response, begun):
                size += len(block)
                if size > MAX_BYTES:
                    begun.discard()
                    raise DownloadError(f"the server sends more than the {MAX_BYTES:,} bytes that weights may have")
                file.write(block)
                bar.update(len(block))
    if total is not None and size < total:
        raise _BrokenError(f"the connection broke off after {size:,} of {total:,} bytes")


def _open(address: str, begun: _Partial) -> "AbstractContextManager[BaseHTTPResponse]":
    size, version = begun.size, begun.version
    headers = {"Range": f"bytes={size}-", "If-Range": version} if size and version else None
    with _connection(begun):
        return closing(http.get(address, headers))


@contextmanager
def _connection(begun: _Partial) -> Iterator[None]:
    """Sort errors of the connection by whether another attempt is worthwhile."""
    try:
        yield
    except PnasnetError:
        raise
    except Exception as error:  # of urllib3, and OSError
        if isinstance(error, http.StatusError):
            if error.status == _RANGE_NOT_SATISFIABLE:
                begun.discard()
            elif http.is_answer(error):
                raise DownloadError(http.reason(error)) from error
            raise _BrokenError(http.reason(error)) from error
        kind = DownloadError if http.is_permanent(error) else _BrokenError
        raise kind(f"the connection failed ({http.reason(error)})") from error


def _start(response: "BaseHTTPResponse", begun: _Partial) -> tuple[int, int | None]:
    """Return the number of bytes received before, and the total if the server announces it."""
    version, length = _version(response), _length(response)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity" and not begun.path.name.endswith((".gz.partial", ".tgz.partial")):
        raise DownloadError(f"the server sends it encoded as {clean(encoding)}, which cannot be resumed")
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        size = begun.size
        total = None if length is None else size + length
        if not match or int(match[1]) != size or version != begun.version or match[2] not in ("*", str(total)):
            begun.discard()
            raise _BrokenError("the server continued with something other than the rest of the file")
    else:
        size, total = 0, length
        begun.restart(version)
    if total is not None and total > MAX_BYTES:
        raise DownloadError(f"the server announces {total:,} bytes, more than weights may have ({MAX_BYTES:,})")
    return size, total


def _length(response: "BaseHTTPResponse") -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _version(response: "BaseHTTPResponse") -> str:
    """Return what identifies this version of the file to the byte; empty if nothing does."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified", "")


def _body(response: "BaseHTTPResponse", begun: _Partial) -> Iterator[bytes]:
    from urllib3.exceptions import IncompleteRead, ProtocolError

    while True:
        with _connection(begun):
            try:
                block = response.read1(http.BLOCK)
            except ProtocolError as error:
                if not isinstance(error.args[-1], IncompleteRead):
                    raise
                return  # `_attempt` reports the sum
        if not block:
            return
        yield block
