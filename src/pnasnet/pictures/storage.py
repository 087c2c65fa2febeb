"""Files behind URLs. Nothing is believed about their size.

Over HTTP urllib3 reads them, whose connections are kept, whose patience ends, and which says what went wrong; S3, GCS
and whatever else there is go through fsspec, as do files that have to be read at any place.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from .._version import __version__
from ..errors import ImageError, InputError, MissingExtraError
from ..images import LIMITS

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from urllib3 import BaseHTTPResponse, PoolManager

_GOOGLE = ("gs", "gcs")
_TRIES = 3
_BLOCK = 1 << 20
_PAUSE = 0.5  # seconds before the second try, twice as many before the third
_CONNECT_SECONDS, _SILENT_SECONDS = 10, 30  # how long a server may take to answer, and may say nothing

T = TypeVar("T")


class UnreachableError(ImageError):
    """Where a picture lies does not answer: neither the picture's fault, nor that of its neighbours."""


def is_url(source: str) -> bool:
    """Whether `source` is a URL, not a path."""
    return "://" in source


def read_url(url: str) -> bytes:
    """Return what is at `url`, in up to three tries, of at most `LIMITS.bytes` bytes.

    Raises:
        UnreachableError: the server does not answer, or breaks off each time.
        ImageError: there is nothing, it is not to be read, empty, or too large.
        MissingExtraError: what reads such URLs is not installed.
    """
    with _telling(url):
        data = trying(lambda: _read(url, LIMITS.bytes + 1))
    LIMITS.check_bytes(len(data), url)
    return data


def open_url(url: str) -> BinaryIO:
    """Open what is at `url` for reading at any place; what it raises is for `reading` to tell."""
    return cast("BinaryIO", trying(lambda: _system(url).open(url, "rb")))


def open_stream(url: str) -> BinaryIO:
    """Open what is at `url` for reading from one end to the other; what it raises is for `reading` to tell."""
    return cast("BinaryIO", trying(lambda: _get(url))) if _is_http(url) else open_url(url)


def expand_url(url: str) -> list[str]:
    """Return the URLs of all files that a pattern, or all files below a folder, stand for, sorted; else `url` itself.

    Raises `InputError` where they cannot be listed.
    """
    pattern = any(sign in url for sign in "*[")  # a question mark begins a query
    if _is_http(url) and not pattern and not url.endswith("/"):
        return [url]  # which takes no file system, hence no extra
    try:
        system = _system(url)
        if pattern:
            return sorted(map(system.unstrip_protocol, system.glob(url)))
        return sorted(map(system.unstrip_protocol, system.find(url))) if system.isdir(url) else [url]
    except MissingExtraError:
        raise
    except Exception as error:  # every file system has its own
        raise InputError(f"{url!r} cannot be listed ({reason(error)}): check the address and the rights") from error


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, or what kind it is; for urllib3's, what the system said."""
    while type(error).__module__.startswith("urllib3"):  # which wraps that in others, with host, port and path in each
        inner = error.__cause__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().partition("\n")[0] or type(error).__name__


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _read(url: str, most: int) -> bytes:
    if not _is_http(url):
        return cast("bytes", _system(url).cat_file(url, start=0, end=most))
    response = _get(url)
    data = bytearray()
    try:
        # To its end, where an answer that is shorter than it said is found out.
        while len(data) < most and (block := response.read(min(_BLOCK, most - len(data)))):
            data += block
    except BaseException:
        response.close()
        raise
    if len(data) == most:
        response.close()  # what is left of the answer would be taken for the next one
    else:
        response.release_conn()
    return bytes(data)


class _StatusError(OSError):
    """An answer that is no success."""

    def __init__(self, status: int, words: str | None) -> None:
        super().__init__(f"the server answers {status} {words or ''}".strip())
        self.status = status


def _get(url: str) -> "BaseHTTPResponse":
    response = _pool(os.getpid()).request("GET", url, preload_content=False, decode_content=False)
    if response.status == 200:
        return response
    response.close()
    if response.status in (404, 410):
        raise FileNotFoundError(url)
    if response.status in (401, 403):
        raise PermissionError(f"the server answers {response.status}")
    raise _StatusError(response.status, response.reason)


@lru_cache
def _pool(process: int) -> "PoolManager":
    """Return the connections of a process."""
    from urllib3 import PoolManager, Retry, Timeout

    patience = Timeout(connect=_CONNECT_SECONDS, read=_SILENT_SECONDS)
    retries = Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)  # `trying` counts the tries
    headers = {"User-Agent": f"pnasnet/{__version__}", "Accept-Encoding": "identity"}
    return PoolManager(maxsize=32, timeout=patience, retries=retries, headers=headers)


def trying(call: Callable[[], T], is_final: Callable[[Exception], bool] = lambda error: False) -> T:
    """Call, and call again where the failure may be a passing one."""
    for turn in range(_TRIES):
        try:
            return call()
        except Exception as error:
            if turn == _TRIES - 1 or is_final(error) or not _may_pass(error):
                raise
            time.sleep(_PAUSE * 2**turn)
    raise AssertionError


def _may_pass(error: Exception) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | ImportError):
        return False
    status = getattr(error, "status", None)
    return not (isinstance(status, int) and 400 <= status < 500 and status not in (408, 429))


@contextmanager
def _telling(url: str) -> Iterator[None]:
    """Turn what file systems raise, each in its own way, into `ImageError` or `UnreachableError`, of one line."""
    try:
        yield
    except (ImageError, MissingExtraError):
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{url}: not found: check the address") from error
    except PermissionError as error:
        raise ImageError(f"{url}: not allowed ({reason(error)}): check the rights") from error
    except Exception as error:
        kind = UnreachableError if _may_pass(error) else ImageError
        raise kind(f"{url}: cannot be read ({reason(error)}): check the address, or try again later") from error


def _system(url: str) -> "AbstractFileSystem":
    return _open_system(url.partition("://")[0].lower(), os.getpid())


@lru_cache
def _open_system(protocol: str, process: int) -> "AbstractFileSystem":
    """Return the file system for a protocol; one for each process, since its threads are not inherited."""
    import fsspec

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        if protocol in ("http", "https"):
            import aiohttp

            patience = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
            options["client_kwargs"] = {"timeout": patience}
        if protocol in _GOOGLE and not (log := logging.getLogger("gcsfs")).level:
            # It warns at each request where there are no credentials, as for public buckets.
            log.setLevel(logging.ERROR)
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        extra = "gcs" if protocol in _GOOGLE else "remote"
        raise MissingExtraError.of(error.name or "a package", extra, f"reading {protocol}://") from error
    except ValueError as error:
        raise InputError(f"{protocol}:// is no kind of address that can be read: {reason(error)}") from error
