"""The limits of the server, as one value that all protocols share."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError
from ..support.contexts import contextmanager
from ..support.http import decompressed
from ..support.typed import convert_fields
from .errors import BusyError, ServeError

_MIB = 1 << 20


@dataclass(frozen=True)
class ServerLimits:
    """Limits of a request, and of all requests at a time. Raises `InputError` unless all are above 0."""

    body: int = 32 * _MIB
    """Bytes of a request's body, before and after decompression."""
    images: int = 64
    """Images of a request."""
    pixels: int = 64 * _MIB
    """Pixels of an image."""
    queue: int = 256
    """Images that each model has accepted and not answered."""
    queue_bytes: int = 512 * _MIB
    """Bytes of their network inputs."""
    bodies: int = 256 * _MIB
    """Bytes of all bodies in memory; HTTP and gRPC have this limit each."""
    header_seconds: float = 10.0
    """Seconds until the headers of a request must be complete."""
    body_seconds: float = 30.0
    """Seconds until the body must be complete, and until the client must have read the response."""

    def __post_init__(self) -> None:
        convert_fields(self)
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"{name} must be more than 0, not {value}")

    def check_images(self, count: int) -> None:
        """Raise `ServeError` for a request with no images, or too many."""
        if not count:
            raise ServeError("the request has no images: send at least one")
        if count > self.images:
            raise ServeError(f"the request has {count:,} images: send at most {self.images} at a time", 413)


def too_large(most: int) -> ServeError:
    """Return the error for a body of more than `most` bytes."""
    return ServeError(f"the body has more than {most:,} bytes: send fewer or smaller images", 413)


def inflate(body: bytes, encoding: str, most: int) -> bytes:
    """Return the decompressed body. `encoding` is its `Content-Encoding`, gzip or deflate.

    Raises `ServeError` if it is damaged, has another encoding, or decompresses to more than `most` bytes.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ServeError("this Content-Encoding is not supported: send gzip, deflate, or no encoding", 415)
    plain = bytearray()
    try:
        for block in decompressed(iter([body])):
            plain += block
            if len(plain) > most:
                raise too_large(most)
    except OSError as error:
        raise ServeError(f"the body cannot be decompressed: {error}") from error
    return bytes(plain)


class ByteBudget:
    """A budget of bytes that all requests share."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    def fits(self, count: int) -> bool:
        """Return whether a new share may hold `count` bytes."""
        return not self.used or self.used + count <= self.most

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Yield a share whose bytes are given back after the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.used -= share.held


class Share:
    """The bytes that one request holds of a budget."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self.held = budget, 0

    def take(self, count: int) -> None:
        """Hold `count` more bytes. Raises `BusyError` if others hold too many; the only request is never refused."""
        others = self._budget.used - self.held
        if others and self._budget.used + count > self._budget.most:
            raise BusyError("too many bytes of other requests are in memory: try again")
        self._budget.used += count
        self.held += count
