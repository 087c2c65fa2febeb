"""Connections: bounded headers, requests one after another, and offers of HTTP/2."""

import socket
from collections.abc import Iterator

import pytest

from pnasnet.serve import ServerLimits, Service

from tests.helpers.serving import Live, encoded, fake_models, live


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(Service(fake_models(), ServerLimits(header_seconds=2))) as running:
        yield running


def talk(server: Live, *parts: bytes, until: int = 1) -> bytes:
    """Send parts, and return what is received until the connection is closed or so many answers have arrived."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
            while received.count(b"HTTP/1.1 ") < until or not received.endswith((b"}", b"\n")):
                if not (data := connection.recv(1 << 16)):
                    break
                received += data
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed before all was sent
        return received


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /embed HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
        b"GET /" + b"x" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 40_000,
    ],
    ids=["value", "target", "many"],
)
def test_headers_of_too_many_bytes(server: Live, head: bytes) -> None:
    assert talk(server, head).startswith(b"HTTP/1.1 400 ")


def test_headers_of_many_bytes(server: Live) -> None:
    answer = talk(server, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 60_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_offer_of_http_2_is_passed_over(server: Live) -> None:
    """Java's client makes it with every request; a parser that stops there (httptools does) would lose the body."""
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for _ in range(3):
            connection.sendall(post(encoded(), *offer))
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(1 << 16)
            assert received.startswith(b"HTTP/1.1 200 ")


def test_requests_that_do_not_wait_for_answers(server: Live) -> None:
    sent = post(encoded()) + b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" + post(b"no image")
    answers = talk(server, sent, until=3)
    assert [answers.index(b"HTTP/1.1 %d " % status) for status in (200, 404, 400)] == sorted(
        answers.index(b"HTTP/1.1 %d " % status) for status in (200, 404, 400)
    )
