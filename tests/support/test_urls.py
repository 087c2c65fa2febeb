"""Credentials are removed from URLs that are shown or stored; hosts that a user allows are hosts."""

import pytest

from pnasnet.errors import InputError
from pnasnet.support.urls import host_names, redact, redact_text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h:8/t.tar?X-Amz-Signature=a/b&versionId=3#x", "https://h:8/t.tar?versionId=3"),
        ("https://x.blob.core.windows.net/c/a.jpg?sv=1&se=2&sig=abc&sp=r", "https://x.blob.core.windows.net/c/a.jpg"),
        ("https://h/a?X-Goog-Credential=a&Expires=1&Key-Pair-Id=2&id=3", "https://h/a?id=3"),
        ("https://h/i?se=1&path=a/b", "https://h/i?se=1&path=a%2Fb"),
        ("s3://b/k#1.jpg?versionId=4", "s3://b/k#1.jpg?versionId=4"),
        ("https://u:p@[x/a?token=1", "https://[x/a"),
        ("/a/b@c?token=d", "/a/b@c?token=d"),
    ],
)
def test_credentials_are_not_shown(url: str, shown: str) -> None:
    assert redact(url) == redact(redact(url)) == shown
    assert "secret" not in redact_text("failed: url='https://u:secret@h/a?token=secret' x")


def test_hosts_in_lower_case() -> None:
    given = ("Images.Example", "10.0.0.1", "FE80::1", "my_bucket", "bücher.example")
    assert host_names(given) == ("images.example", "10.0.0.1", "fe80::1", "my_bucket", "bücher.example")
    assert host_names("Images.Example") == ("images.example",)  # not its letters


@pytest.mark.parametrize(
    "host", ["", " ", "http://a.example", "a.example/", "a.example:80", "u@a.example", "[::1]", "a b", "a?b", "a#b"]
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(InputError, match=r"is not a host: write its name or address alone"):
        host_names(["b.example", host])
