"""Image files, on disk or behind a URL: named one by one, in folders, or by patterns."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import InputError
from ..images import EXTENSIONS, Source
from ..support.arguments import checked
from ..support.urls import is_url, redact
from .passed_over import PassedOver
from .storage import read_url
from .unit import Picture, Unit
from .walking import FolderId, walk


@dataclass(frozen=True)
class Files(Unit):
    """Files, by path or URL."""

    kind = "files"
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the first file."""
        return redact(self.paths[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of all files."""
        return tuple(map(redact, self.paths))

    @property
    def size(self) -> int:
        """The number of files."""
        return len(self.paths)

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        """Yield the files from number `start` on. A missing file fails when it is read."""
        for path in self.paths[start:]:
            yield Picture(redact(path), partial(_read, path))


def _read(path: str) -> Source:
    return read_url(path) if is_url(path) else path


@checked
def find_images(sources: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the paths of all images, in the order of `sources`; within a folder or pattern, sorted by name.

    Args:
        sources: files with any name; folders, searched at any depth and through links for files with the suffix of an
            image format; and patterns with `*`, `?`, `[...]` or `**`, which match such files and folders. Hidden names
            are skipped. A folder that a source reaches twice, as by a link to a parent folder, is searched once.

    Raises:
        InputError: a source does not exist, cannot be listed, or contains no images.
    """
    return [path for source in sources for path in find_in(os.fspath(source))]


def find_in(
    source: str, passed_over: PassedOver | None = None, is_shard: Callable[[str], object] = lambda path: False
) -> Iterator[str]:
    """Yield the images of one source, as `find_images` does, and the matches of a pattern that are shards."""
    if Path(source).is_dir():
        yield from _some(walk(source, set(), passed_over), source, "contains no images at any depth")
    elif os.path.lexists(source):
        yield source
    elif glob.has_magic(source):
        yield from _some(_matching(source, passed_over, is_shard), source, "matches no images")
    else:
        raise InputError(f"{source!r} does not exist: check the path")


def _some(paths: Iterator[str], source: str, problem: str) -> Iterator[str]:
    """Yield the paths. Raises `InputError` if there are none."""
    first = next(paths, None)
    if first is None:
        raise InputError(
            f"{source!r} {problem} ({' '.join(sorted(EXTENSIONS))}); name shards and tables one by one, or by a "
            "pattern such as 'shards/*.tar'"
        )
    yield first
    yield from paths


def _matching(pattern: str, passed_over: PassedOver | None, is_shard: Callable[[str], object]) -> Iterator[str]:
    """Yield the matching shards and images, and the images in matching folders, each once."""
    seen: set[FolderId] = set()
    found = dict.fromkeys(match(pattern))
    for path in found:
        if is_shard(path) and not Path(path).is_dir():
            yield path
        else:
            yield from walk(path, seen, passed_over, others=found)


def match(pattern: str) -> list[str]:
    """Return the files and folders that match, sorted; none for a pattern with a zero byte, which `glob` refuses."""
    return sorted(glob.glob(pattern, recursive=True)) if "\0" not in pattern else []  # noqa: PTH207 - may be absolute
