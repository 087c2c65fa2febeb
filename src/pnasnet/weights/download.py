"""One file over HTTP: resumed where it broke off, bounded, and complete or not there.

The client is the standard library's. It is the only one sure to be there: huggingface-hub's has changed from requests
to httpx to httpx2 with its major versions, and one more dependency would bring little to a single GET.
"""

import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from .._version import __version__
from ..errors import OutputError
from .archive import MAX_BYTES

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt."""
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

_CHUNK = 2**20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Answers of a server that may answer otherwise a little later."""
_PERMANENT = (socket.gaierror, ssl.SSLCertVerificationError)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class DownloadError(Exception):
    """A file that could not be had, and why; caught by `fetch`, which knows what else to do about it."""


class _BrokenError(DownloadError):
    """An attempt that failed in such a way that another one may not."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing to `path` into an error of ours."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"cannot write {path}: {reason}; make room, or set PNASNET_CACHE to another folder"
        ) from error


def download(address: str, target: Path, *, progress: bool) -> None:
    """Download `address` to `target`, which appears complete or not at all; its folder must exist.

    What has come so far is kept in `target` + `.partial` for the next attempt or the next run. It is continued only
    where the server names the file's version (by an ETag or a date) and still has that version.

    Raises:
        DownloadError: it could not be had, or not whole.
        OutputError: it could not be written; what has come is kept.
    """
    partial = _Partial(target.with_name(f"{target.name}.partial"), target.with_name(f"{target.name}.partial.version"))
    for wait in (*WAITS, None):
        try:
            _attempt(address, partial, progress)
            break
        except _BrokenError:
            if wait is None:
                raise
            time.sleep(wait)
    with writing(target):
        partial.path.replace(target)
        partial.discard()


@dataclass(frozen=True)
class _Partial:
    """The beginning of a file, and which version of the file it is the beginning of."""

    path: Path
    version_path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str:
        return self.version_path.read_text() if self.version_path.exists() else ""

    def restart(self, version: str) -> None:
        self.path.write_bytes(b"")  # first, so that no version stands beside another's bytes
        self.version_path.write_text(version)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.version_path.unlink(missing_ok=True)


def _attempt(address: str, partial: _Partial, progress: bool) -> None:
    with writing(partial.path), _open(address, partial) as response:
        size, total = _start(response, partial)
        name = address.rpartition("/")[2]
        hide = None if progress else True  # None: where standard error is no terminal
        bar = tqdm(total=total, initial=size, unit="B", unit_scale=True, unit_divisor=1024, desc=name, disable=hide)
        with bar, partial.path.open("ab") as file:
            for chunk in _body(response, partial):
                size += len(chunk)
                if size > MAX_BYTES:
                    partial.discard()
                    raise DownloadError(f"the server sends more than the {MAX_BYTES:,} bytes that weights may have")
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and size < total:
        raise _BrokenError(f"the connection broke off after {size:,} of {total:,} bytes")


@contextmanager
def _open(address: str, partial: _Partial) -> Iterator[http.client.HTTPResponse]:
    headers = {"User-Agent": f"pnasnet/{__version__}", "Accept-Encoding": "identity"}
    if partial.size and partial.version:
        headers |= {"Range": f"bytes={partial.size}-", "If-Range": partial.version}
    with _connection(partial):
        response: http.client.HTTPResponse = urlopen(Request(address, headers=headers), timeout=TIMEOUT)
    with response:
        yield response


@contextmanager
def _connection(partial: _Partial) -> Iterator[None]:
    """Sort what can go wrong on the way by whether another attempt is worth it."""
    try:
        yield
    except HTTPError as error:
        with error:
            reason = f"the server answers {error.code} ({error.reason})"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.discard()
            elif error.code not in _PASSING:
                raise DownloadError(reason) from None
        raise _BrokenError(reason) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        kind = DownloadError if isinstance(cause, _PERMANENT) else _BrokenError
        raise kind(f"the connection failed ({str(cause) or type(cause).__name__})") from error


def _start(response: http.client.HTTPResponse, partial: _Partial) -> tuple[int, int | None]:
    """Return how many bytes are there already, and how many there will be where the server tells."""
    version = _version(response)
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        size = partial.size
        total = None if response.length is None else size + response.length
        if not match or int(match[1]) != size or version != partial.version or match[2] not in ("*", str(total)):
            partial.discard()
            raise _BrokenError("the server continued with something else than the rest of the file")
    else:
        size, total = 0, response.length
        partial.restart(version)
    if total is not None and total > MAX_BYTES:
        raise DownloadError(f"the server announces {total:,} bytes, more than weights may have ({MAX_BYTES:,})")
    return size, total


def _version(response: http.client.HTTPResponse) -> str:
    """Return what tells this version of the file from others, to the byte; empty where nothing does."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified", "")


def _body(response: http.client.HTTPResponse, partial: _Partial) -> Iterator[bytes]:
    while True:
        with _connection(partial):
            chunk = response.read1(_CHUNK)
        if not chunk:
            return
        yield chunk
