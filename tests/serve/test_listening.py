"""Connections: bounded headers, requests one after another, and offers of HTTP/2."""

import gzip
import socket
from collections.abc import Iterator

import pytest

from pnasnet.serve import ServerLimits, Service

from tests.helpers.serving import Live, encoded, fake_models, live


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(Service(fake_models(), ServerLimits(header_seconds=60))) as running:
        yield running


def talk(server: Live, *parts: bytes, until: int = 1) -> bytes:
    """Send parts, and return what is received until the connection is closed or so many answers have arrived."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
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


@pytest.mark.parametrize(
    "offer",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"),
        (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    ],
    ids=["HTTP/2", "WebSocket"],
)
def test_an_offer_of_another_protocol_is_passed_over(
    server: Live, offer: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Java's client makes one with every request; a parser that stops there (httptools does) would lose the body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        for _ in range(3):
            connection.sendall(post(encoded(), *offer))
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(1 << 16)
            assert received.startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


def test_requests_that_do_not_wait_for_answers(server: Live) -> None:
    sent = post(encoded()) + b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" + post(b"no image")
    answers = talk(server, sent, until=3)
    assert [answers.index(b"HTTP/1.1 %d " % status) for status in (200, 404, 400)] == sorted(
        answers.index(b"HTTP/1.1 %d " % status) for status in (200, 404, 400)
    )


def test_a_header_may_have_several_lines(server: Live) -> None:
    answer = talk(server, post(encoded(), b"Accept: text/html", b"Accept: application/json"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    answer = talk(server, post(gzip.compress(gzip.compress(encoded())), *[b"Content-Encoding: gzip"] * 2))
    assert answer.startswith(b"HTTP/1.1 415 ")


def test_a_body_with_two_lengths(server: Live) -> None:
    """A proxy might take what follows for a request of its own, or of another client."""
    body = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = talk(server, post(body, b"Transfer-Encoding: chunked"), until=2)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"not both" in answer


def test_chunks_with_extensions_and_trailers(server: Live) -> None:
    head = b"POST /embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"%x;a=b\r\n%b\r\n0\r\nAuthorization: Bearer x\r\n\r\n" % (len(encoded()), encoded())
    assert talk(server, head, body).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_whether_to_send_its_body(server: Live) -> None:
    sent = post(encoded(), b"Expect: 100-continue")
    head = sent[: -len(encoded())]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(encoded())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_clients_of_http_1_0(server: Live) -> None:
    sent = post(encoded()).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: a\r\n", b"")
    answer = talk(server, sent, until=2)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"}"), "the connection is closed"
