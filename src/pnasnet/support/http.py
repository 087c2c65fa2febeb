"""One HTTP client and one retry policy, for weights and images."""

import ipaddress
import os
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from .._version import __version__
from .text import clean, counted
from .urls import host_of, is_http, is_url, redact, redact_text

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

WAITS = (0.5, 1.0, 2.0)
"""Seconds before each retry. A server may ask for more, up to `_LONGEST_WAIT`."""
CONNECT_SECONDS = 10.0
"""Time limit for connecting."""
SILENT_SECONDS = 30.0
"""Seconds without a byte after which a connection counts as broken."""
BLOCK = 2**20
"""Bytes read, and decompressed, at a time."""

_LONGEST_WAIT = 30.0
_MAX_REDIRECTS = 5
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Addresses of IPv6 that a network's gateway turns into the addresses of IPv4 at their end."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

T = TypeVar("T")


class StatusError(OSError):
    """The server answered with an error."""

    def __init__(self, status: int, phrase: str | None, wait: float = 0.0) -> None:
        super().__init__(f"the server answers {status} {phrase or ''}".strip())
        self.status, self.wait = status, wait


class RefusedError(Exception):
    """A host that the user did not allow. Not an OSError, because urllib3 would wrap it and callers would retry."""


def reason(error: BaseException) -> str:
    """Return why a transfer failed, on one line and without credentials.

    For an error of urllib3 or aiohttp it is the message of the operating system, without host, port and path.
    """
    error = _cause(error)
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clean(redact_text(text.strip().partition("\n")[0])) or type(error).__name__


def _cause(error: BaseException) -> BaseException:
    while type(error).__module__.startswith(("urllib3", "aiohttp")):
        inner = error.__cause__ or getattr(error, "reason", None) or (error.args and error.args[-1])
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error


def is_answer(error: BaseException) -> bool:
    """Return whether an error is an answer that a repeated request would get again, such as "not found"."""
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 400:
        return status not in _PASSING
    return isinstance(error, FileNotFoundError | PermissionError | ImportError | RefusedError)


def retrying(call: Callable[[], T], is_final: Callable[[Exception], bool] = is_answer) -> T:
    """Return `call()`. After a temporary error, wait and retry, at most once for each of `WAITS`.

    Args:
        call: one attempt.
        is_final: returns whether an error makes retries useless; they are never tried after a permanent error.
    """
    for wait in WAITS:
        try:
            return call()
        except Exception as error:
            if is_final(error) or is_permanent(error):
                raise
            time.sleep(min(max(wait, getattr(error, "wait", 0.0)), _LONGEST_WAIT))
    return call()


def is_permanent(error: BaseException) -> bool:
    """Return whether a connection fails for a lasting reason: an unknown host, or an untrusted certificate."""
    cause = _cause(error)
    if isinstance(cause, socket.gaierror):
        return cause.errno != socket.EAI_AGAIN
    return isinstance(cause, ssl.SSLCertVerificationError)


class _UserInfo(NamedTuple):
    """The user info of a URL."""

    scheme: str
    host: str
    credentials: str

    def credentials_for(self, scheme: str, host: str) -> str | None:
        """Return the credentials for a redirect's target: the same host, and not HTTP after HTTPS."""
        return self.credentials if host == self.host and scheme in ("https", self.scheme) else None


def get(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    allowed: Collection[str] | None = None,
    most_redirects: int = _MAX_REDIRECTS,
) -> "BaseHTTPResponse":
    """Send one request, follow redirects, and return the answer (200 or 206) with its body unread.

    User info in the URL is sent as basic authentication: to its own host alone, and never unencrypted if the URL is
    HTTPS.

    Args:
        url: `http://` or `https://`.
        headers: further request headers.
        allowed: hosts to which requests and redirects may lead, or None for any. An address that is not public must be
            listed itself. (A proxy from the environment looks names up itself, so it must refuse such addresses.)
        most_redirects: maximum number of redirects to follow.

    Raises:
        StatusError: another answer. RefusedError: the host, or one it redirects to, is not allowed. Otherwise the
        errors of urllib3.
    """
    user: _UserInfo | None = None
    for _ in range(most_redirects + 1):
        parts = urlsplit(url)
        host = host_of(parts.netloc)
        if "@" in parts.netloc:
            user = _UserInfo(parts.scheme, host, unquote(parts.netloc.rpartition("@")[0]))
        if not is_http(url):
            raise RefusedError(f"the server redirects to {redact(url)}")
        if allowed is not None:
            check_host(parts.hostname, allowed)
        plain = urlunsplit(SplitResult(parts.scheme, host, parts.path, parts.query, ""))
        own = _headers(headers, user.credentials_for(parts.scheme, host) if user else None)
        response = _client(plain, allowed).request(
            "GET", plain, headers=own, redirect=False, retries=False, preload_content=False, decode_content=False
        )
        target = response.get_redirect_location()
        if not target:
            return _checked(response)
        response.close()
        url = urljoin(url, target)
    raise StatusError(response.status, f"and redirects more than {counted(most_redirects, 'time')}")


def _headers(headers: Mapping[str, str] | None, credentials: str | None) -> dict[str, str]:
    from urllib3 import make_headers

    own = {"User-Agent": f"pnasnet/{__version__}", "Accept-Encoding": "identity"} | dict(headers or {})
    return own | (make_headers(basic_auth=credentials) if credentials else {})


def _checked(response: "BaseHTTPResponse") -> "BaseHTTPResponse":
    if response.status in (200, 206):
        return response
    wait = response.headers.get("Retry-After", "")
    response.close()
    raise StatusError(response.status, response.reason, float(wait) if wait.isdecimal() else 0.0)


def _client(url: str, allowed: Collection[str] | None) -> "PoolManager":
    return _pool(os.getpid(), proxy_of(url), None if allowed is None else frozenset(allowed))


def proxy_of(url: str) -> str | None:
    """Return the HTTP proxy that the environment names for a URL; None if it names none, or excepts the host.

    Raises `ConnectionError` for a proxy of another protocol.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme.lower())
    if not proxy or proxy_bypass(host_of(parts.netloc)):
        return None
    proxy = proxy if is_url(proxy) else f"http://{proxy}"
    if not is_http(proxy):
        raise ConnectionError(f"{redact(proxy)} is not a proxy of HTTP: set {parts.scheme}_proxy to one")
    return proxy


@lru_cache
def _pool(process: int, proxy: str | None, allowed: frozenset[str] | None) -> "PoolManager":
    """Return the pool of connections of a process."""
    from urllib3 import PoolManager, ProxyManager, Timeout, make_headers

    options: dict[str, Any] = {"maxsize": 32, "timeout": Timeout(connect=CONNECT_SECONDS, read=SILENT_SECONDS)}
    if proxy:
        user = urlsplit(proxy).netloc.rpartition("@")[0]
        return ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=unquote(user) or None), **options)
    pool = PoolManager(**options)
    if allowed is not None:
        pool.pool_classes_by_scheme = _guarded(allowed)
    return pool


def check_host(host: str | None, allowed: Collection[str]) -> None:
    """Raise `RefusedError` unless a host is allowed."""
    if (host or "") not in allowed:
        raise RefusedError(f"the host {clean(str(host))!r} is not allowed")


def check_address(text: str, allowed: Collection[str]) -> None:
    """Raise `RefusedError` unless an IP address is public, or allowed itself."""
    text = text.partition("%")[0]
    peer = ipaddress.ip_address(text)
    address = getattr(peer, "ipv4_mapped", None) or getattr(peer, "sixtofour", None) or peer
    if peer in _NAT64:
        address = ipaddress.IPv4Address(int(peer) % 2**32)
    # What `is_global` leaves out: relics of IPv6, some with an address of IPv4 in them, and groups of machines.
    odd = address.is_reserved or address.is_multicast or getattr(address, "is_site_local", False)
    if (odd or not address.is_global) and {text, str(peer), str(address)}.isdisjoint(allowed):
        raise RefusedError(f"the address {address} is not public: allow it as a host of its own")


def _guarded(allowed: frozenset[str]) -> dict[str, Any]:
    """Return urllib3's classes with connections that refuse addresses that are not public."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    def guard(pool: Any) -> Any:
        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            def _new_conn(self) -> socket.socket:
                connected: socket.socket = super()._new_conn()
                try:
                    check_address(connected.getpeername()[0], allowed)
                except RefusedError:
                    connected.close()
                    raise
                return connected

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    return {"http": guard(HTTPConnectionPool), "https": guard(HTTPSConnectionPool)}


def blocks(response: "BaseHTTPResponse") -> Iterator[bytes]:
    """Yield the body in pieces of at most `BLOCK` bytes, decompressed if its `Content-Encoding` is gzip or deflate.

    Raises OSError if the body ends too early or has another encoding, and the errors of urllib3.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise OSError(f"the server sends it encoded as {clean(encoding)}, which is not supported")
    raw = iter(lambda: response.read(BLOCK), b"")
    yield from raw if encoding == "identity" else decompressed(raw)


def decompressed(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Yield gzip or zlib data decompressed, at most `BLOCK` bytes at a time. Raises OSError if it is damaged."""
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    for data in raw:
        while data:
            if unpacker.eof:
                unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                unpacked = unpacker.decompress(data, BLOCK)
            except zlib.error as error:
                raise OSError(f"its gzip encoding is damaged ({error})") from error
            if unpacked:
                yield unpacked
            data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if not unpacker.eof:
        raise OSError("its gzip encoding is cut short")


def read_all(response: "BaseHTTPResponse", most: int) -> bytes:
    """Return the decoded body, or its first `most` bytes, and release the connection."""
    data = bytearray()
    try:
        for block in blocks(response):
            data += block
            if len(data) >= most:
                break
    except BaseException:
        response.close()
        raise
    if len(data) >= most:
        response.close()  # otherwise the rest of the body would be read as the next answer
    else:
        response.release_conn()
    return bytes(data[:most])
