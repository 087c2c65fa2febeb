"""What a name says about a file: an archive, a table, a picture, hidden, or none of these."""

import re
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
"""The end of an archive's name within the name of a picture in it; a URL may have a query."""

_MAC_FOLDER = "__MACOSX"

Kind = Literal["tar", "zip", "parquet"]


def kind_of(source: str) -> Kind | None:
    """Return the kind of file with many pictures that a path or URL names, or None."""
    path = path_of(source).lower()
    if path.endswith(TARS):
        return "tar"
    if path.endswith(".zip"):
        return "zip"
    return "parquet" if path.endswith(".parquet") else None


def is_picture(source: str) -> bool:
    """Return whether a path or URL has the suffix of a picture."""
    return is_image_path(path_of(source))


def path_of(source: str) -> str:
    """Return the path in a URL, without its query; a path as it is."""
    if not is_url(source):
        return source
    if is_http(source):
        try:
            return unquote(urlsplit(source).path)
        except ValueError:
            return source
    return source.partition("?versionId=")[0]


def local_path(source: str) -> str:
    """Return the path that a `file://` URL names; anything else as it is."""
    if not source.lower().startswith("file://"):
        return source
    _, _, rest = source.partition("://")
    return url2pathname("/" + rest.partition("/")[2])


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is passed over: dot files, and what macOS puts into archives."""
    return (name.startswith(".") and name not in (".", "..")) or name == _MAC_FOLDER


def is_member(name: str) -> bool:
    """Return whether a member of an archive is taken: it has the suffix of a picture, and no part is hidden."""
    return is_image_path(name) and not any(map(is_hidden, PurePosixPath(name).parts))


class Distinct:
    """Tells pictures of one name apart: the second `a.jpg` becomes `a.jpg#2`."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __call__(self, name: str) -> str:
        """Return a name that was not returned before; the same for the same sequence of names."""
        number, found = 1, name
        while (key := _digest(found)) in self._seen:
            number += 1
            found = f"{name}#{number}"
        self._seen.add(key)
        return found


def _digest(name: str) -> bytes:
    from hashlib import blake2b

    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()
