"""Recognise URLs, and remove credentials from them."""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from ..errors import InputError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>)]+")

# Parameters that sign or authorise a request: of AWS, Google, Alibaba and Tencent by prefix, of others by name.
_SECRET = re.compile(
    r"(x-(amz|goog|oss|cos)-.*|q-(sign|ak|signature|key|header|url).*|aws_?access_?key_?id|google_?access_?id"
    r"|oss_?access_?key_?id|expires?|policy|key-pair-id|hdnea|hmac|.*(sig|signature|token|secret|passw(or)?d|pwd"
    r"|credentials?|auth|authorization|api_?key|access_?key|session))",
    re.IGNORECASE,
)
_AZURE = re.compile(r"s[vesrptks]|srt|st|sip|spr|skoid|sktid|skt|ske|sks|skv|ses|sdd|saoid|suoid|scid", re.IGNORECASE)
"""The other parameters of an Azure signature (`sig`); without one these names mean nothing."""

_HOST = re.compile(r"[^\s/@?#\[\]]+")


def is_url(source: str) -> bool:
    """Return whether `source` is a URL, not a path."""
    return "://" in source


def is_http(url: str) -> bool:
    """Return whether `url` is an HTTP or HTTPS URL."""
    return url.lower().startswith(("http://", "https://"))


def redact(url: str) -> str:
    """Return a URL without user info, signing parameters and fragment, to show or store it. A path stays as it is.

    The rest of the query is kept, because it may select the file (`?versionId=3`). Over HTTP, a slash in it becomes
    `%2F`. The result is the same for URLs that differ only in their signatures.
    """
    if not is_url(url):
        return url
    start, _, rest = url.partition("://")
    try:
        parts = urlsplit(f"//{rest}")
    except ValueError:  # such as a bracket that is not closed
        return f"{start}://{host_of(rest.partition('?')[0].partition('#')[0])}"
    pairs = [pair for pair in parts.query.split("&") if pair]
    names = [unquote(pair.partition("=")[0]) for pair in pairs]
    signed = any(name.lower() == "sig" for name in names)
    kept = "&".join(
        pair.replace("/", "%2F") if is_http(url) else pair
        for name, pair in zip(names, pairs, strict=True)
        if not _SECRET.fullmatch(name) and not (signed and _AZURE.fullmatch(name))
    )
    fragment = "" if is_http(url) else parts.fragment  # elsewhere it is part of a name
    return f"{start}://{host_of(parts.netloc)}{parts.path}" + f"?{kept}" * bool(kept) + f"#{fragment}" * bool(fragment)


def redact_text(text: str) -> str:
    """Return text, such as another library's error, with every URL in it redacted."""
    return _URL.sub(lambda found: redact(found[0]), text)


def host_of(netloc: str) -> str:
    """Return host and port without user info."""
    return netloc.rpartition("@")[2]


def host_names(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return hosts that the user allows, in lower case, as `urlsplit` returns them.

    Raises `InputError` for anything but a name or an address, such as a URL, or a host with a port.
    """
    hosts = (hosts,) if isinstance(hosts, str) else tuple(hosts)
    for host in hosts:
        if not _HOST.fullmatch(host) or (":" in host and host.count(":") < 2):  # more: an address of IPv6
            raise InputError(f"{host!r} is not a host: write its name or address alone, such as images.example")
    return tuple(host.lower() for host in hosts)
