"""Which files and hosts a table may lead to: no others are opened, whatever is written in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ImageError
from ..support.urls import is_url, redact

_REMOTE = ("http", "https", "s3", "gs", "gcs")


@dataclass(frozen=True)
class Access:
    """The files and hosts that the user allowed.

    Attributes:
        roots: folders below which paths lie; relative paths begin at the first. Empty: the table's own folder.
        hosts: names of hosts, or of buckets, that URLs may have. Addresses that are not public must be listed
            themselves. Empty: none.
    """

    roots: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def path(self, path: str, name: str) -> str:
        """Return the path of a file, checked. Raises `ImageError`, with `name`, if it lies outside of the roots."""
        for root in self.roots:
            found = str(Path(root, path))
            if _is_below(found, root):
                return found
        where = self.roots[0] if self.roots else "any folder that is known"
        raise ImageError(
            f"{name}: {path!r} lies outside of {where}: name its folder with --root, or write pictures into the table"
        )

    def check_url(self, url: str, name: str) -> None:
        """Raise `ImageError`, with `name`, unless the URL's host is allowed."""
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "") if parts.scheme in ("http", "https") else parts.netloc
        except ValueError:
            host = ""
        if not host or parts.scheme not in _REMOTE or host not in self.hosts:
            raise ImageError(
                f"{name}: leads to {redact(url)}, whose host is not allowed: add --allow-url-host {host or 'HOST'}"
            )

    def check(self, source: str, name: str) -> str:
        """Return a path or URL, checked. Errors as for `path` and `check_url`."""
        if not is_url(source):
            return self.path(source, name)
        self.check_url(source, name)
        return source


CLOSED = Access()
"""Files below a table's own folder, and no hosts."""


def _is_below(path: str, root: str) -> bool:
    """Return whether a path leads below `root`, by links that lie there or without any."""
    if "\0" in path:
        return False
    if ".." not in Path(path).parts and Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):  # noqa: PTH100 - links stay
        return True
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
