"""Credentials are removed from URLs that are shown or stored."""

import pytest

from pnasnet.support.urls import redact, redact_text


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
