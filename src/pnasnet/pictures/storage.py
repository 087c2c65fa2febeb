"""Reads files behind URLs; sizes that servers state are not trusted.

HTTP uses `support.http`. S3, GCS and other protocols use fsspec, and so does random access over HTTP.
"""

import io
import logging
import os
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..errors import ImageError, InputError, MissingExtraError, UnreachableError
from ..images import LIMITS
from ..support import http
from ..support.contexts import contextmanager
from ..support.files import check_regular
from ..support.http import is_answer, reason, retrying
from ..support.urls import is_http, is_url, redact
from .guarded import guarded_client

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from fsspec import AbstractFileSystem

_GOOGLE = ("gs", "gcs")


def read_url(url: str, *, allowed: Collection[str] | None = None) -> bytes:
    """Return the content of a URL of any supported protocol.

    Args:
        url: the URL.
        allowed: allowed hosts, as for `support.http.get`; None for any.

    Raises:
        UnreachableError: the server does not answer, or the connection breaks in every attempt.
        ImageError: the file is missing, forbidden, empty, or larger than `LIMITS.bytes`.
        MissingExtraError: the package for the protocol is not installed.
    """
    with _one_line(redact(url)):
        data = retrying(lambda: _read(url, LIMITS.bytes + 1, allowed))
    LIMITS.check_bytes(len(data), redact(url))
    return data


def open_url(url: str, allowed: Collection[str] | None = None) -> BinaryIO:
    """Open `url` for random access. The errors are those that `sorting_errors` sorts; `allowed` is as in `read_url`."""
    return retrying(lambda: _open(url, allowed))


def open_random(path: str, allowed: Collection[str] | None = None) -> "str | BinaryIO":
    """Return a local path, or an open URL, for libraries with random access.

    Raises `ImageError` for a pipe or a device, and the errors of `open_url`.
    """
    if is_url(path):
        return open_url(path, allowed)
    check_regular(path, ImageError)
    return path


def _open(url: str, allowed: Collection[str] | None) -> BinaryIO:
    try:
        return cast("BinaryIO", _system(url, allowed).open(url, "rb"))
    except FileNotFoundError as error:  # fsspec's class for any failure of its first request
        raise error.__cause__ or error from None


def open_stream(url: str, allowed: Collection[str] | None = None) -> io.BufferedReader:
    """Open `url` for sequential reading, otherwise like `open_url`."""
    if is_http(url):
        response = retrying(lambda: http.get(url, allowed=allowed))
        return io.BufferedReader(_Blocks(http.blocks(response), response.close), http.BLOCK)
    file = open_url(url)
    return io.BufferedReader(_Blocks(iter(lambda: file.read(http.BLOCK), b""), file.close), http.BLOCK)


class _Blocks(io.RawIOBase):
    """An iterator over blocks of bytes as a raw file."""

    def __init__(self, blocks: Iterator[bytes], close: Callable[[], object]) -> None:
        self._blocks, self._close, self._block = blocks, close, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read at most the rest of one block, so that a failure loses nothing that came before it."""
        self._block = self._block or memoryview(next(self._blocks, b""))
        target = memoryview(buffer)[: len(self._block)]
        target[:] = self._block[: len(target)]
        self._block = self._block[len(target) :]
        return len(target)

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()


def expand_url(url: str, *, literal: bool = False) -> list[str]:
    """Return the URLs of all files that match a pattern or are in a folder, sorted; else `url` itself.

    Args:
        url: the URL.
        literal: whether `*` and `[` are part of a name.

    Raises:
        InputError: the files cannot be listed.
    """
    pattern = not literal and any(sign in url.partition("?")[0] for sign in "*[")  # a question mark begins a query
    if is_http(url) and not pattern and not url.endswith("/"):
        return [url]  # without a file system, which would need an extra
    try:
        system = _system(url)
        if pattern:
            matches = system.glob(url, detail=True).items()
            return sorted(system.unstrip_protocol(name) for name, info in matches if info["type"] != "directory")
        return sorted(map(system.unstrip_protocol, system.find(url))) if system.isdir(url) else [url]
    except MissingExtraError:
        raise
    except Exception as error:  # every file system has its own classes
        raise InputError(
            f"{redact(url)!r} cannot be listed ({reason(error)}): check the address and the permissions"
        ) from error


def _read(url: str, most: int, allowed: Collection[str] | None) -> bytes:
    if is_http(url):
        return http.read_all(http.get(url, allowed=allowed), most)
    return cast("bytes", _system(url).cat_file(url, start=0, end=most))


def refused(name: str, error: http.RefusedError) -> ImageError:
    """Return the error of an image or a shard whose host is not allowed."""
    return ImageError(f"{name}: {reason(error)}: allow it with --allow-url-host, or remove the image")


@contextmanager
def _one_line(url: str) -> Iterator[None]:
    """Turn the errors of all file systems into an `ImageError` or an `UnreachableError` of one line."""
    try:
        yield
    except (ImageError, MissingExtraError):
        raise
    except Exception as error:
        status = getattr(error, "status", None)
        if isinstance(error, FileNotFoundError) or status in (404, 410):
            raise ImageError(f"{url}: not found: check the address") from error
        if isinstance(error, PermissionError) or status in (401, 403):
            raise ImageError(f"{url}: permission denied ({reason(error)}): check the credentials") from error
        if isinstance(error, http.RefusedError):
            raise refused(url, error) from error
        kind = ImageError if is_answer(error) else UnreachableError
        raise kind(f"{url}: cannot be read ({reason(error)}): check the address, or try again later") from error


def _system(url: str, allowed: Collection[str] | None = None) -> "AbstractFileSystem":
    return _open_system(
        url.partition("://")[0].lower(),
        os.getpid(),
        frozenset(allowed) if allowed is not None and is_http(url) else None,
        http.proxy_of(url) if is_http(url) else None,
    )


@lru_cache
def _open_system(
    protocol: str, process: int, allowed: frozenset[str] | None, proxy: str | None
) -> "AbstractFileSystem":
    """Return the file system of a protocol; each process has its own, since threads are not inherited.

    Over HTTP, redirects lead through the same proxy, or through none.
    """
    import fsspec

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        if protocol in ("http", "https"):
            import aiohttp

            patience = aiohttp.ClientTimeout(
                total=None, sock_connect=http.CONNECT_SECONDS, sock_read=http.SILENT_SECONDS
            )
            options["client_kwargs"] = {"timeout": patience}
            if allowed is not None:
                options["get_client"] = guarded_client(allowed, proxied=proxy is not None)
            if proxy:
                options["proxy"] = proxy  # of each request; aiohttp's own `trust_env` would send passwords of .netrc
        if protocol in _GOOGLE and not (log := logging.getLogger("gcsfs")).level:
            # Without credentials, as for public buckets, it warns at each request.
            log.setLevel(logging.ERROR)
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        package, extra = ("gcsfs", "gcs") if protocol in _GOOGLE else (error.name or "s3fs", "remote")
        raise MissingExtraError.of(package, extra, f"reading {protocol}://") from error
    except ValueError as error:
        raise InputError(f"{protocol}:// is not a supported protocol: {reason(error)}") from error
