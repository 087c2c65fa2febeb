"""Opens the images that features name. Features may come from others, so their paths and URLs are not trusted.

A path is opened only below the folders that the run recorded or the user names. A URL is opened only on a host that the
user names, and never through a redirect to another host or to a private address.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import ImageError, InputError
from ..support.files import read_json
from ..support.progress import Progress, counter, silent
from ..support.text import clean, counted
from ..support.urls import is_url
from .features import Features

if TYPE_CHECKING:
    from ..extract.thumbnails import Thumbnail
    from ..pictures import Access

log = logging.getLogger(__name__)

_MAX_JSON = 64 << 20
_HUB, _HUB_HOST = "hf:", "huggingface.co"


class Locator:
    """Finds the images that rows name, and refuses those that must not be opened."""

    def __init__(self, features: Features, access: "Access") -> None:
        from ..pictures import Access

        for root in access.roots:
            if not Path(root).is_dir():
                raise InputError(f"{root} is not a folder: name one with --root")
        self._named = access.roots
        self._access = Access(tuple(access.roots or recorded_roots(features)), access.hosts)
        self._folders: dict[str, str] = {}

    def __call__(self, name: str) -> str | None:
        """Return the absolute path or the URL to open for a name; None if it must not be opened."""
        try:
            if name.startswith(_HUB):
                return name if _HUB_HOST in self._access.hosts else None
            if is_url(name):
                self._access.check_url(name, name)
                return name
            folder, base = os.path.split(name)
            if folder not in self._folders:
                self._folders[folder] = self._find(folder)
            path = os.path.abspath(os.path.join(self._folders[folder], base))  # noqa: PTH100, PTH118 - links stay
            return self._access.path(path, name) if base not in ("", "..") else None
        except (ImageError, ValueError):
            return None

    def _find(self, folder: str) -> str:
        """Return the path of a folder that rows name: as it is, or its last part below a root that the user named."""
        if any(Path(folder).is_relative_to(os.path.abspath(root)) for root in self._named):  # noqa: PTH100 - links stay
            return folder
        parts = [part for part in Path(folder).parts if part != os.sep]
        for root in self._named:
            name = Path(os.path.abspath(root)).name  # noqa: PTH100 - links stay
            aligned = [start + 1 for start, part in enumerate(parts) if part == name]
            for start in (*reversed(aligned), *range(len(parts))):
                candidate = os.path.join(root, *parts[start:])  # noqa: PTH118 - keeps the root as given
                if _exists(candidate, root):
                    return candidate
        return self._named[0] if self._named else folder


def _exists(path: str, root: str) -> bool:
    """Return whether the path or a file above it, which may be a shard that holds it, exists below the root."""
    if os.path.lexists(path):
        return True
    while path != root:
        path = os.path.dirname(path)  # noqa: PTH120 - keeps the root as given
        if os.path.exists(path):  # noqa: PTH110 - never raises
            return os.path.isfile(path)  # noqa: PTH113 - never raises
    return False


def recorded_roots(features: Features) -> list[str]:
    """Return the folders and shards that the run read, from the report beside the features; none without a report."""
    path = features.path
    report = path / "_report.json" if path.is_dir() else path.with_suffix(".report.json")
    try:
        if not report.exists() or report.stat().st_size > _MAX_JSON:
            return []
        sources = [
            name for name in read_json(report)["settings"]["sources"] if isinstance(name, str) and not is_url(name)
        ]
    except (OSError, InputError, KeyError, TypeError):
        return []
    folders = (source if os.path.lexists(source) else _fixed(source) for source in sources)
    return list(dict.fromkeys(folder for folder in folders if folder))


def _fixed(pattern: str) -> str:
    """Return the folder of a pattern before its first wildcard."""
    parts = Path(pattern).parts
    signs = [number for number, part in enumerate(parts) if any(sign in part for sign in "*?[")]
    return str(Path(*parts[: signs[0]])) if signs else pattern


def open_thumbnails(
    features: Features,
    names: Sequence[str],
    access: "Access",
    side: int,
    *,
    trusted: frozenset[str] = frozenset(),
    quality: int = 80,
    progress: Progress = silent,
) -> Iterator["Thumbnail | None"]:
    """Yield a thumbnail of each image, oriented as for the network; None if the image cannot or must not be opened.

    Log messages count the missing images, with reasons.

    Args:
        features: the table that names the images.
        names: the names of the images.
        access: the folders and hosts that may be opened; its folders replace those that the run recorded.
        side: maximum of the longer side, in pixels.
        trusted: names that the user typed, which are opened without checks.
        quality: JPEG quality.
        progress: receives the images done in the stage `thumbnails`.
    """
    from ..extract.thumbnails import thumbnails  # a slow import, which most commands on vectors do not need
    from ..pictures import Access

    locate = Locator(features, access)
    places = [_as_typed(name) if name in trusted or _is_own(features, name) else locate(name) for name in names]
    allowed = [place for place in places if place is not None]
    if refused := [name for name, place in zip(names, places, strict=True) if place is None]:
        urls = sum(is_url(name) or name.startswith(_HUB) for name in refused)
        hint = "allow their hosts with --allow-url-host" if urls == len(refused) else "name their folder with --root"
        log.info(
            "%s of %s not opened, such as %s: %s",
            f"{len(refused):,}", counted(len(names), "image"), clean(refused[0]), hint,
        )  # fmt: skip
    typed = {urlsplit(name).hostname for name in trusted if is_url(name)}
    hosts = {host for host in typed if host} | set(access.hosts)
    everywhere = Access((os.sep,), tuple(sorted(hosts)), trusted)  # paths are checked above, hosts at each redirect
    advance = counter(progress, "thumbnails", len(allowed))
    found = thumbnails(allowed, side, exif=features.exif, quality=quality, access=everywhere, advance=advance)
    for place in places:
        yield None if place is None else next(found)
    for _ in found:  # logs missing images at its end
        pass


def _as_typed(name: str) -> str:
    return name if is_url(name) or name.startswith(_HUB) else os.path.abspath(name)  # noqa: PTH100 - links stay


def _is_own(features: Features, name: str) -> bool:
    """Return whether an image lies in the table of the features itself, which the user has named."""
    return any(part.names is None and name.startswith(f"{part.path}#") for part in features.parts)
