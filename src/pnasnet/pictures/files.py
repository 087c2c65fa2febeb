"""Pictures that are files of their own: on disk or behind a URL, named one by one, in folders, by patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import InputError
from ..images import EXTENSIONS, Source
from ..support.urls import is_url, redact
from .storage import read_url
from .unit import Picture, Unit
from .walking import FolderId, PassedOver, walk


@dataclass(frozen=True)
class Files(Unit):
    """Files, by path or URL."""

    kind = "files"
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """That of the first file."""
        return redact(self.paths[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Each file."""
        return tuple(map(redact, self.paths))

    @property
    def size(self) -> int:
        """The number of files."""
        return len(self.paths)

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yield the files from number `start` on; a missing one fails when it is read."""
        for path in self.paths[start:]:
            yield Picture(redact(path), partial(_read, path))


def _read(path: str) -> Source:
    return read_url(path) if is_url(path) else path


def find_images(sources: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the paths of all pictures, in the order of `sources`; within a folder or pattern, sorted by name.

    Args:
        sources: files, whatever they are called; folders, with all files in them, however deep and behind links too,
            that have the suffix of a picture; and patterns with `*`, `?`, `[...]` or `**`, which stand for such files
            and for folders. Names that begin with a dot are ignored. A folder that a source reaches twice, such as by a
            link to a folder above it, is walked once.

    Raises:
        InputError: a source does not exist, cannot be listed or holds no picture.
    """
    return [path for source in sources for path in find_in(os.fspath(source))]


def find_in(source: str, passed_over: PassedOver | None = None) -> Iterator[str]:
    """Yield the pictures of one source, as `find_images` does."""
    if Path(source).is_dir():
        yield from _some(walk(source, set(), passed_over), source, "holds no picture, and neither do its folders")
    elif os.path.lexists(source):
        yield source
    elif glob.has_magic(source):
        yield from _some(_matching(source, passed_over), source, "matches no picture")
    else:
        raise InputError(f"{source!r} does not exist: check the path")


def _some(paths: Iterator[str], source: str, problem: str) -> Iterator[str]:
    """Yield the paths; at least one."""
    empty = True
    for path in paths:
        empty = False
        yield path
    if empty:
        raise InputError(
            f"{source!r} {problem}: looked for {' '.join(sorted(EXTENSIONS))}; name shards and tables themselves, "
            "or by a pattern such as 'shards/*.tar'"
        )


def _matching(pattern: str, passed_over: PassedOver | None) -> Iterator[str]:
    """Yield the pictures that match, and those in the folders that match, each once."""
    seen: set[FolderId] = set()
    yield from dict.fromkeys(path for found in match(pattern) for path in walk(found, seen, passed_over))


def match(pattern: str) -> list[str]:
    """Return the files and folders that match, sorted; none for a name that no file can have."""
    return sorted(glob.glob(pattern, recursive=True)) if "\0" not in pattern else []  # noqa: PTH207 - or absolute
