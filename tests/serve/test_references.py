"""Images at URLs: off, unless their host is allowed."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from pnasnet.serve import ServerLimits
from pnasnet.serve.errors import ServeError
from pnasnet.serve.references import References

from tests.helpers.serving import encoded

_RELEASE = Event()


class Pictures(BaseHTTPRequestHandler):
    """Answers with an image, a redirect, too much, or a byte at a time."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/image")
            self.end_headers()
            return
        body = {"/large": bytes(200_000), "/slow": b""}.get(self.path, encoded())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) or 10))
        self.end_headers()
        self.wfile.write(body or b"x")
        if not body:
            _RELEASE.wait(120)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    Thread(target=server.serve_forever).start()
    yield f"http://localhost:{server.server_port}"
    _RELEASE.set()
    server.shutdown()
    server.server_close()


@contextmanager
def references(*hosts: str, seconds: float) -> Iterator[References]:
    opened = References(ServerLimits(body=100_000, body_seconds=seconds), hosts)
    try:
        yield opened
    finally:
        opened.close()


def resolve(url: str, *hosts: str, seconds: float = 60.0) -> list[bytes]:
    with references(*hosts, seconds=seconds) as opened:
        return asyncio.run(opened.resolve([url]))


def test_a_host_that_is_allowed(origin: str) -> None:
    # The address of this machine is private: it must be named, too.
    assert resolve(f"{origin}/image", "localhost", "127.0.0.1") == [encoded()]


@pytest.mark.parametrize(
    ("path", "hosts", "error"),
    [
        ("/image", (), "images at URLs are not fetched"),
        ("/image", ("other.example",), "the host 'localhost' is not allowed"),
        ("/image", ("localhost",), "is not public"),
        ("/redirect", ("localhost", "127.0.0.1"), "redirects more than 0 times"),
        ("/large", ("localhost", "127.0.0.1"), "has more bytes than a request may have"),
        ("/slow", ("localhost", "127.0.0.1"), "cannot be fetched"),
    ],
)
def test_what_is_refused(origin: str, path: str, hosts: tuple[str, ...], error: str) -> None:
    start = time.monotonic()
    with pytest.raises(ServeError, match=error):
        resolve(origin + path, *hosts, seconds=0.5 if path == "/slow" else 60.0)
    assert time.monotonic() - start < 60, "it waited until the other side had sent all"


def test_a_name_that_could_leave_the_log(origin: str) -> None:
    with pytest.raises(ServeError) as raised:
        resolve(f"{origin}/\x1b[31m\n?token=secret", "other.example")
    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)
