"""The files and hosts that paths and URLs in a table may refer to; no others are opened."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ImageError
from ..support.urls import host_names, is_url, redact

_REMOTE = ("http", "https", "s3", "gs", "gcs")


@dataclass(frozen=True)
class Access:
    """The files and hosts that the user allowed.

    Attributes:
        roots: allowed folders, with all below them; relative paths start at the first. Empty: the table's own folder.
        hosts: allowed hosts and buckets of URLs. Addresses that are not public must be listed themselves. Empty: none.
        trusted: names that the user typed: their URLs may lead to any address.

    Raises `InputError` for a host that is none, such as a URL.

    Example:
        >>> from pnasnet.pictures import Access
        >>> access = Access(roots=("photos",), hosts=("example.com",))
        >>> access.path("coffee.jpg", "row 0"), access.check("https://example.com/a.jpg", "row 1")
        ('photos/coffee.jpg', 'https://example.com/a.jpg')
        >>> access.check_url("https://example.org/a.jpg", "row 2")
        Traceback (most recent call last):
            ...
        pnasnet.errors.ImageError: row 2: the host of https://example.org/a.jpg is not allowed: ...
    """

    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    trusted: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", host_names(self.hosts))

    def path(self, path: str, name: str) -> str:
        """Return the path of a file if it is below a root. Raises `ImageError`, with `name`, if it is not."""
        for root in self.roots:
            found = str(Path(root, path))
            if _is_below(found, root):
                return found
        where = f"outside {self.roots[0]}" if self.roots else "in an unknown folder"
        raise ImageError(f"{name}: {path!r} is {where}: pass its folder as --root, or write the images into the table")

    def check_url(self, url: str, name: str) -> None:
        """Raise `ImageError`, with `name`, unless the URL's host is allowed."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "") if parts.scheme in ("http", "https") else parts.netloc.lower()
        except ValueError:
            host = ""
        if not host or parts.scheme not in _REMOTE or host not in self.hosts:
            raise ImageError(f"{name}: the host of {redact(url)} is not allowed: add --allow-url-host {host or 'HOST'}")

    def check(self, source: str, name: str) -> str:
        """Return a path or URL if it is allowed. Raises like `path` and `check_url`."""
        if not is_url(source):
            return self.path(source, name)
        self.check_url(source, name)
        return source


CLOSED = Access()
"""Allows files below a table's own folder, and no hosts."""


def _is_below(path: str, root: str) -> bool:
    """Return whether a path is below `root`, by its name (links below `root` may lead out) or after resolving links."""
    if "\0" in path:
        return False
    if ".." not in Path(path).parts and Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):  # noqa: PTH100 - links stay
        return True
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
