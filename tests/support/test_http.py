"""Which addresses the HTTP client connects to, what it retries, and what its errors say."""

import socket
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

import pytest
from urllib3 import HTTPResponse

from pnasnet.support import http

from tests.helpers.http_answers import Handler, body, http_server, redirect

NAME = "inside.example"
"""A host that the user allowed, and that leads to this machine."""


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses to which `NAME` leads; the client waits for nothing."""
    addresses: list[str] = []
    look_up = socket.getaddrinfo

    def pretended(host: str, *arguments: Any, **options: Any) -> Any:
        return look_up(addresses.pop(0) if host == NAME else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", pretended)
    monkeypatch.setattr(http, "WAITS", (0, 0, 0))
    return addresses


def refusal(address: str, *allowed: str) -> str:
    """Return why a request is refused; fail if it is answered, or retried."""
    with pytest.raises(http.RefusedError) as refused:
        http.retrying(lambda: http.get(address, allowed=allowed))
    return http.reason(refused.value)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "0"])
def test_other_spellings_of_a_private_address_are_refused(host: str, lookups: list[str]) -> None:
    with http_server({"/a": body(b"private")}) as url:
        address = f"http://{host}:{urlsplit(url).port}/a"
        assert refusal(address, host) == "the address 127.0.0.1 is not public: allow it as a host of its own"
        assert http.get(address, allowed=(host, "127.0.0.1")).read() == b"private"


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"])
def test_an_allowed_name_that_leads_to_a_private_address_is_refused_at_once(address: str, lookups: list[str]) -> None:
    lookups += [address] * 2
    with http_server({"/a": body(b"private")}) as url:
        assert "is not public" in refusal(f"http://{NAME}:{urlsplit(url).port}/a", NAME)
    assert lookups == [address]  # one attempt


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("64:ff9b::7f00:1", "127.0.0.1"), ("64:ff9b::a00:1", "10.0.0.1"), ("2002:a00:1::", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"), ("64:ff9b:1::a00:1", "64:ff9b:1::a00:1"), ("::7f00:1", "::7f00:1"),
        ("fec0::1", "fec0::1"), ("ff02::1", "ff02::1"), ("224.0.0.1", "224.0.0.1"), ("fe80::1%eth0", "fe80::1"),
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str, shown: str) -> None:
    with pytest.raises(http.RefusedError, match=f"the address {shown} is not public"):
        http.check_address(address, ["8.8.8.8"])
    http.check_address(address, [shown])


def test_addresses_that_are_public() -> None:
    for address in ("8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::", "2606:4700::1111"):
        http.check_address(address, [])


@pytest.mark.parametrize("host", ["localhost", "2130706433", "[::ffff:7f00:1]", "0.0.0.0", "169.254.169.254"])
def test_redirects_lead_to_allowed_hosts_only(host: str, lookups: list[str]) -> None:
    with http_server({"/r": redirect(f"http://{host}/secret")}) as url:
        assert refusal(f"{url}/r", "127.0.0.1") == f"the host {host.strip('[]')!r} is not allowed"


def test_a_redirect_to_an_allowed_name_that_leads_to_a_private_address_is_refused(lookups: list[str]) -> None:
    lookups += ["127.0.0.2"]
    with (
        socket.create_server(("127.0.0.2", 0)) as inside,
        http_server({"/r": redirect(f"http://{NAME}:{inside.getsockname()[1]}/secret")}) as url,
    ):
        assert "127.0.0.2 is not public" in refusal(f"{url}/r", "127.0.0.1", NAME)


def test_redirects_to_files_are_refused(lookups: list[str]) -> None:
    with http_server({"/r": redirect("file:///etc/passwd")}) as url:
        assert refusal(f"{url}/r", "127.0.0.1") == "the server redirects to file:///etc/passwd"


def test_a_broken_connection_is_one_line(lookups: list[str]) -> None:
    def hang_up(handler: Handler) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    with http_server({"/a": hang_up}) as url, pytest.raises(Exception, match="aborted") as broken:
        http.get(f"{url}/a")
    assert "(" not in http.reason(broken.value)  # no Python object


def test_user_info_is_sent_to_its_host_alone() -> None:
    asked: list[str | None] = []

    def answer(handler: Handler) -> None:
        asked.append(handler.headers["Authorization"])
        body(b"content")(handler)

    with http_server({"/a": answer}) as url, http_server({"/r": redirect(f"{url}/a")}) as other:
        http.get(f"{url.replace('//', '//me:p%40ss@')}/a")
        http.get(f"{url}/a")
        http.get(f"{other.replace('//', '//me:p%40ss@')}/r")
    assert asked == ["Basic " + b64encode(b"me:p@ss").decode(), None, None]


@pytest.mark.parametrize(
    ("asked", "target", "sent"),
    [
        ("https://me:pass@host/r", "https://host/a", True),
        ("http://me:pass@host/r", "https://host/a", True),
        ("http://me:pass@host/r", "http://host/a", True),
        ("https://me:pass@host/r", "http://host/a", False),
        ("https://me:pass@host/r", "https://other/a", False),
        ("https://me:pass@host/r", "https://host:8443/a", False),
    ],
)
def test_user_info_of_https_is_never_sent_unencrypted(
    asked: str, target: str, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [HTTPResponse(status=302, headers={"Location": target}), HTTPResponse(status=200)]
    seen: list[bool] = []

    class Client:
        def request(self, method: str, url: str, *, headers: dict[str, str], **options: Any) -> HTTPResponse:
            seen.append("authorization" in headers)
            return answers.pop(0)

    monkeypatch.setattr(http, "_client", lambda url, allowed: Client())
    http.get(asked)
    assert seen == [True, sent]


def test_retries_wait_longer_each_time_and_as_long_as_a_server_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("pnasnet.support.http.time.sleep", waits.append)
    failures = [http.StatusError(503, "Unavailable", wait) for wait in (0.0, 5.0, 3600.0)]

    def attempt() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    assert http.retrying(attempt) == "done"
    assert waits == [0.5, 5.0, 30.0]
    failures += [http.StatusError(503, "Unavailable")] * 3
    waits.clear()
    assert http.retrying(attempt) == "done"
    assert waits == [0.5, 1.0, 2.0]
    failures += [http.StatusError(503, "Unavailable")] * 4
    with pytest.raises(http.StatusError, match="503 Unavailable"):
        http.retrying(attempt)
