"""What requests pass before their route: keys, limits of bodies, and time."""

import gzip
import http.client
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from pnasnet.errors import InputError
from pnasnet.serve import ServerLimits, Service, middleware
from pnasnet.serve.auth import ApiKeys
from pnasnet.serve.errors import BusyError
from pnasnet.serve.limits import ByteBudget

from tests.helpers.serving import Live, encoded, fake_models, live
from tests.helpers.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(Service(fake_models(), ServerLimits(body=100_000, pixels=10_000))) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Live]:
    """A server with time limits that a busy machine may exceed for other requests than slow ones."""
    with live(Service(fake_models(), ServerLimits(header_seconds=0.5, body_seconds=0.5))) as running:
        yield running


class TestKeys:
    def test_the_key_opens_all_but_probes(self, tmp_path: Path) -> None:
        (tmp_path / "keys").write_text("first\n\nsecond \n")
        service = Service(fake_models(), keys=ApiKeys.from_file(tmp_path / "keys"))
        with live(service) as server:
            for given in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": "first"},
                {"Authorization": "Basic first"},
            ):
                answer = server.post("/embed", data=encoded(), headers=given)
                assert answer.status_code == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert "Authorization: Bearer KEY" in answer.json()["error"]
            for key in ("first", "second"):
                given = {"Authorization": f"Bearer {key}"}
                assert server.post("/embed", data=encoded(), headers=given).status_code == 200
            assert requests.get(server.url + "/healthz", timeout=60).status_code == 200
            assert requests.get(server.url + "/metrics", timeout=60).status_code == 401

    def test_files_without_a_usable_key(self, tmp_path: Path) -> None:
        file = tmp_path / "keys"
        for content, error in ((b"\n", "holds no API key"), (b"k\xc3\xa9y", "non-ASCII characters")):
            file.write_bytes(content)
            with pytest.raises(InputError, match=error):
                ApiKeys.from_file(file)


class TestBodies:
    @pytest.mark.parametrize("encoding", ["gzip", "deflate"])
    def test_compressed(self, server: Live, encoding: str) -> None:
        pack = gzip.compress if encoding == "gzip" else zlib.compress
        answer = server.post("/embed", data=pack(encoded()), headers={"Content-Encoding": encoding})
        assert answer.json() == server.post("/embed", data=encoded()).json()

    @pytest.mark.parametrize(
        ("body", "encoding", "status"),
        [
            (gzip.compress(bytes(50_000_000)), "gzip", 413),
            (zlib.compress(bytes(50_000_000)), "deflate", 413),
            (gzip.compress(encoded())[:-20], "gzip", 400),
            (b"x", "deflate", 400),
            (encoded(), "br", 415),
            (bytes(100_001), "", 413),
        ],
    )
    def test_bombs_and_damage(
        self, server: Live, body: bytes, encoding: str, status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(middleware, "_DISCARD_SECONDS", 120.0)
        answer = server.post("/embed", data=body, headers={"Content-Encoding": encoding})
        assert answer.status_code == status
        assert answer.elapsed.total_seconds() < 60, "nothing more of the body is waited for"
        assert answer.json()["error"].isprintable()

    def test_an_image_with_too_many_pixels(self, server: Live) -> None:
        answer = server.post("/embed", data=encoded(size=(101, 100)))
        assert answer.status_code == 400
        assert "100 x 101 pixels, more than the limit of 10,000: save it smaller" in answer.json()["error"]

    def test_chunks_without_a_length(self, server: Live) -> None:
        assert server.post("/embed", data=iter([encoded()[:99], encoded()[99:]])).status_code == 200
        answer = server.post("/embed", data=iter([bytes(60_000), bytes(60_000)]))
        assert answer.status_code == 413
        assert "more than 100,000 bytes" in answer.json()["error"]

    def test_a_large_body_is_refused_before_it_is_sent(self, server: Live) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            connection.putrequest("POST", "/embed")
            connection.putheader("Content-Length", str(10**12))
            connection.putheader("Expect", "100-continue")
            connection.endheaders()
            assert connection.getresponse().status == 413

    def test_all_bodies_share_one_budget(self) -> None:
        budget = ByteBudget(10)
        with budget.share() as one, budget.share() as two:
            one.take(20)  # alone
            with pytest.raises(BusyError):
                two.take(1)
        with budget.share() as one, budget.share() as two:
            one.take(6)
            two.take(4)
        assert budget.used == 0

    def test_a_body_that_does_not_fit_beside_others_is_refused(self) -> None:
        with live(Service(fake_models(), ServerLimits(bodies=100_000, body_seconds=300))) as server:
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 90001\r\n\r\n" + bytes(90_000))
                until(lambda: server.post("/embed", data=bytes(50_000)).status_code == 429)
                assert server.post("/embed", data=bytes(50_000)).headers["Retry-After"] == "1"
            until(lambda: server.post("/embed", data=bytes(50_000)).status_code == 400)


class TestTime:
    @pytest.mark.parametrize("sent", [b"", b"POST /embed HT", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /h"])
    def test_slow_headers_end_the_connection(self, impatient: Live, sent: bytes) -> None:
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
            connection.sendall(sent)
            while connection.recv(4096):
                pass
            assert time.monotonic() - start > 0.4

    def test_a_slow_body_is_a_time_out(self, impatient: Live) -> None:
        with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
            connection.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
            answer = b""
            while data := connection.recv(4096):
                answer += data
            assert answer.startswith(b"HTTP/1.1 408 ")

    def test_a_client_that_leaves_frees_its_place(self, server: Live) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
        until(lambda: server.service.accepted == 0)
        assert server.post("/embed", data=encoded()).status_code == 200


def test_headers_that_never_end(server: Live) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_pages_of_other_origins_are_let_in_by_name_only(server: Live) -> None:
    headers = {"Origin": "https://a.example"}
    assert "Access-Control-Allow-Origin" not in server.post("/embed", data=encoded(), headers=headers).headers
    with live(Service(fake_models()), allow_origins=("https://a.example",)) as other:
        answer = other.post("/embed", data=encoded(), headers=headers)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
