"""Hosts and addresses to which tables lead: through proxies, over IPv6 and TLS, and by names with several addresses."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pnasnet.pictures import storage
from pnasnet.support import http

from tests.helpers.corpus import jpeg
from tests.helpers.http_answers import Answer, Handler, http_server, ranges, redirect, tunnel
from tests.helpers.named_urls import NAMES, outcome

HOST = "images.example"
OTHER = "other.example"

each_name = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxies, no waits, and no connections of other tests."""
    for variable in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr(http, "WAITS", ())
    http._pool.cache_clear()
    storage._open_system.cache_clear()
    yield
    http._pool.cache_clear()
    storage._open_system.cache_clear()


def served(shards: dict[str, bytes], base: str = "", name: str = "r") -> dict[str, Answer]:
    return {f"{base}/{name}{kind}": ranges(content) for kind, content in shards.items()}


def redirected(shards: dict[str, bytes], base: str, target: str) -> dict[str, Answer]:
    return {f"{base}/r{kind}": redirect(f"{target}/a{kind}") for kind in shards}


@each_name
def test_a_proxy_is_used(shards: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a name, without its scheme, and although its own address is not public."""
    with http_server(served(shards, f"http://{HOST}") | served(shards)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("http://127.0.0.1", "localhost"))
        assert outcome(f"http://{HOST}/{name}", HOST) == jpeg(1)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert outcome(f"{proxy}/{name}", "127.0.0.1") == jpeg(1)


@each_name
def test_a_proxy_leads_to_allowed_hosts_only(
    shards: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()

    def target(handler: Handler) -> None:
        asked.append(handler.path)
        ranges(shards[Path(handler.path).suffix])(handler)

    for other in (OTHER, "127.0.0.1", "[::1]", "2130706433", f"{HOST}."):
        answers = redirected(shards, f"http://{HOST}", f"http://{other}")
        answers |= {f"http://{other}/a{kind}": target for kind in shards}
        with http_server(answers) as proxy:
            monkeypatch.setenv("http_proxy", proxy)
            refused = str(outcome(f"http://{HOST}/{name}", HOST))
            assert f"the host {other.strip('[]')!r} is not allowed" in refused
            assert not asked
            assert outcome(f"http://{HOST}/{name}", HOST, other.strip("[]")) == jpeg(1)
            asked.clear()


@each_name
def test_a_host_that_needs_no_proxy_is_guarded(
    shards: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server(served(shards)) as url:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "localhost")
        refused = str(outcome(f"http://localhost:{urlsplit(url).port}/{name}", "localhost"))
        assert "is not public: allow it as a host of its own" in refused


@each_name
def test_a_proxy_of_another_protocol(shards: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://me:secret@127.0.0.1:9")
    message = str(outcome(f"http://{HOST}/{name}", HOST))
    assert "socks5://127.0.0.1:9 is not a proxy of HTTP: set http_proxy to one" in message


@each_name
def test_a_broken_connection_says_why(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/{name}"
        message = str(outcome(url, "127.0.0.1"))
    assert "cannot be read (Conn" in message


@each_name
def test_ipv6(shards: dict[str, bytes], name: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6")
    with http_server(served(shards, name="a"), "::1") as inside:
        assert outcome(f"{inside}/{name.replace('r.', 'a.')}", "::1") == jpeg(1)
        assert "is not allowed" in str(outcome(f"{inside}/{name.replace('r.', 'a.')}", "127.0.0.1"))
        with http_server(redirected(shards, "", inside)) as url:
            assert "the host '::1' is not allowed" in str(outcome(f"{url}/{name}", "127.0.0.1"))
            assert outcome(f"{url}/{name}", "127.0.0.1", "::1") == jpeg(1)


@each_name
def test_hosts_in_redirects(shards: dict[str, bytes], name: str) -> None:
    """Other spellings of hosts, and user info, never lead to a host that is not allowed."""
    with http_server(served(shards, name="a")) as inside:
        port = urlsplit(inside).port
        spellings = [
            "LOCALHOST", "localhost.", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0",
            "127.0.0.1.", "127.0.0.1@localhost", "me:127.0.0.1@localhost", "%31%32%37.0.0.1", "\uff11\uff12\uff17.0.0.1"
        ]  # fmt: skip
        for host in spellings:
            with http_server(redirected(shards, "", f"http://{host}:{port}")) as url:
                found = outcome(f"{url}/{name}", "127.0.0.1")
                assert isinstance(found, str), host
                assert "Traceback" not in found
        for host in ("me@127.0.0.1", "localhost@127.0.0.1"):
            with http_server(redirected(shards, "", f"http://{host}:{port}")) as url:
                assert outcome(f"{url}/{name}", "127.0.0.1") == jpeg(1), host


@each_name
@pytest.mark.parametrize("first", ["127.0.0.1", "203.0.113.1"])
def test_a_name_with_public_and_private_addresses(
    shards: dict[str, bytes], name: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The private one gets no request, also if the public one does not answer."""
    asked = list[str]()
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def pretended(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != HOST:
            return look_up(host, port, *arguments, **options)
        addresses = sorted(["127.0.0.1", "203.0.113.1"], key=lambda each: each != first)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each, port)) for each in addresses]

    def connecting(self: socket.socket, address: Any) -> None:
        if address[0] == "203.0.113.1":
            raise ConnectionRefusedError(111, "Connection refused")
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", pretended)
    monkeypatch.setattr(socket.socket, "connect", connecting)

    def target(handler: Handler) -> None:
        asked.append(handler.path)
        handler.send_error(404)

    answers: dict[str, Answer] = dict.fromkeys(served(shards), target)
    with http_server(answers) as url:
        message = str(outcome(f"http://{HOST}:{urlsplit(url).port}/{name}", HOST))
    assert re.search(r"(127\.0\.0\.1|203\.0\.113\.1) is not public", message)
    assert not asked


CLIENT = """
import json, sys
from tests.helpers.named_urls import outcome
from pnasnet.support import http
http.WAITS = ()
print(json.dumps([str(outcome(url, *hosts)) for url, hosts in json.load(sys.stdin)]))
"""


def outcomes_with(environment: dict[str, str], asked: list[tuple[str, list[str]]]) -> list[str]:
    """Return outcomes in a process of its own, because trusted authorities are loaded once."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT], input=json.dumps(asked), capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment}, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return list(json.loads(done.stdout))


def test_https(shards: dict[str, bytes], tmp_path: Path) -> None:
    """The system's authorities, or those of `SSL_CERT_FILE`, are trusted; hosts and addresses are checked as ever."""
    pytest.importorskip("cryptography")
    from tests.helpers.certificates import certify

    trusting = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    answers = served(shards) | redirected(shards, "/out", "http://localhost")
    with http_server(answers, tls=certify(tmp_path, "localhost", HOST)) as url:
        port = urlsplit(url).port or 0
        here, named = [f"{url}/{name}" for name in NAMES], [f"https://localhost:{port}/{name}" for name in NAMES]
        out = [f"{url}/out/{name}" for name in NAMES]
        asked = [(each, ["127.0.0.1"]) for each in here + out] + [(each, ["localhost"]) for each in named]
        found = outcomes_with(trusting, [*asked, *[(each, ["localhost", "127.0.0.1", "::1"]) for each in named]])
        assert found[:4] == found[12:] == [str(jpeg(1))] * 4
        assert all("the host 'localhost' is not allowed" in each for each in found[4:8])
        assert all("is not public" in each for each in found[8:12])
        assert all("certificate verify failed" in each for each in outcomes_with({}, asked[:4]))
        with http_server({f"{HOST}:443": tunnel(port)}) as proxy:
            asked = [(f"https://{HOST}{way}/{name}", [HOST]) for way in ("", "/out") for name in NAMES]
            found = outcomes_with(trusting | {"https_proxy": proxy}, asked)
    assert found[:4] == [str(jpeg(1))] * 4
    assert all("the host 'localhost' is not allowed" in each for each in found[4:])
