"""Multipart forms: whole, cut short, and with names in odd charsets."""

from collections.abc import Iterator

import pytest
import requests

from pnasnet.serve import Service

from tests.helpers.serving import Live, encoded, fake_models, live

IMAGE = encoded(size=(9, 9))


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(Service(fake_models())) as running:
        yield running


def form(count: int) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="i"; filename="\xffa.png"\r\n\r\n'
    return b"".join(head + IMAGE + b"\r\n" for _ in range(count)) + b"--b--"


def send(server: Live, body: bytes, charset: str = "") -> requests.Response:
    kind = "multipart/form-data; boundary=b" + (f"; charset={charset}" if charset else "")
    return server.post("/embed", data=body, headers={"Content-Type": kind})


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
def test_whole_forms(server: Live, end: bytes) -> None:
    answer = send(server, form(2) + end)
    assert answer.status_code == 200
    assert len(answer.json()["images"]) == 2


@pytest.mark.parametrize("missing", [1, 2, 5, 7, len(IMAGE), len(form(1)), len(form(2)) - 1])
def test_no_image_of_a_form_that_is_cut_short_is_left_out(server: Live, missing: int) -> None:
    answer = send(server, form(2)[:-missing])
    assert answer.status_code == 400
    assert answer.json()["error"] == "the multipart form is damaged: its last boundary is missing"


@pytest.mark.parametrize("charset", ["undefined", "idna", "punycode", "hex", "utf-16", "unicode_escape", "no-such"])
def test_the_charset_of_names_is_the_clients_choice(server: Live, charset: str) -> None:
    answer = send(server, form(1), charset)
    assert answer.status_code in (200, 400)
    assert answer.text.isprintable()
