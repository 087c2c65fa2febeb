"""Recognises files by name: archives, tables, images, hidden files, and names that occur twice."""

import re
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from ..images import is_image_path
from ..support.urls import is_http, is_url

TARS = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4",
    ".tar.lzma",
)  # fmt: skip
ARCHIVE = re.compile(
    f"({'|'.join(map(re.escape, sorted((*TARS, '.zip'), key=len, reverse=True)))})" r"(\?[^/#]*)?(?=/)", re.IGNORECASE
)
"""Matches the end of an archive's name within the name of an image in it; a URL may have a query."""

_MAC_FOLDER = "__MACOSX"

ArchiveKind = Literal["tar", "zip", "parquet"]


def kind_of(source: str) -> ArchiveKind | None:
    """Return the kind of the archive or table that a path or URL names, or None."""
    path = path_of(source).lower()
    if path.endswith(TARS):
        return "tar"
    if path.endswith(".zip"):
        return "zip"
    return "parquet" if path.endswith(".parquet") else None


def is_picture(source: str) -> bool:
    """Return whether a path or URL has the suffix of an image format."""
    return is_image_path(path_of(source))


def path_of(source: str) -> str:
    """Return the path in a URL, without its query; return a path unchanged."""
    if not is_url(source):
        return source
    if is_http(source):
        try:
            return unquote(urlsplit(source).path)
        except ValueError:
            return source
    return source.partition("?versionId=")[0]


def local_path(source: str) -> str:
    """Return the path that a `file://` URL names; return anything else unchanged, an incomplete URL included."""
    path = source.partition("://")[2].partition("/")[2]
    return url2pathname(f"/{path}") if path and source.lower().startswith("file://") else source


def is_hidden(name: str) -> bool:
    """Return whether a name is that of a hidden file or folder, or of the metadata that macOS adds to archives."""
    return (name.startswith(".") and name not in (".", "..")) or name == _MAC_FOLDER


def is_member(name: str) -> bool:
    """Return whether a member of an archive is an image by its suffix, and no part of its name is hidden."""
    return is_image_path(name) and not is_hidden_member(name)


def is_hidden_member(name: str) -> bool:
    """Return whether a part of the name of a member of an archive is hidden."""
    return any(map(is_hidden, PurePosixPath(name).parts))


class Distinct:
    """Makes repeated names unique: the second `a.jpg` becomes `a.jpg#2`."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __call__(self, name: str) -> str:
        """Return a name that was not returned before. The result depends on the names given so far alone."""
        number, found = 1, name
        while (key := blake2b(found.encode("utf-8", "surrogatepass"), digest_size=12).digest()) in self._seen:
            number += 1
            found = f"{name}#{number}"
        self._seen.add(key)
        return found
