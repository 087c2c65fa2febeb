"""What the user named, files, folders and patterns, as the list of pictures that it stands for."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..images import EXTENSIONS, walk


def find_images(sources: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the paths of all pictures, in the order of `sources`; within a folder or pattern, sorted by name.

    Args:
        sources: files, taken whatever they are called; folders, of which all files with a suffix of a picture are
            taken, however deep and behind links too; and patterns with `*`, `?`, `[...]` or `**`, which stand for such
            files and for folders. Names that begin with a dot are passed over. A folder that one source reaches twice,
            such as by a link to a folder above it, is walked once.

    Raises:
        InputError: a source is not there, cannot be listed or holds no picture, so that no slip goes unseen.
    """
    return [path for source in sources for path in _expand(os.fspath(source))]


def _expand(source: str) -> list[str]:
    if Path(source).is_dir():
        paths, problem = list(walk(source, set())), "holds no picture, and neither do its folders"
    elif os.path.lexists(source):
        return [source]
    elif glob.has_magic(source):
        paths, problem = _match(source), "matches no picture"
    else:
        raise InputError(f"{source!r} does not exist: check the path")
    if not paths:
        raise InputError(f"{source!r} {problem}: looked for {' '.join(sorted(EXTENSIONS))}")
    return paths


def _match(pattern: str) -> list[str]:
    """Return the pictures that match, and those in the folders that do, each once."""
    seen: set[tuple[int, int]] = set()
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return list(dict.fromkeys(path for match in matches for path in walk(match, seen)))
