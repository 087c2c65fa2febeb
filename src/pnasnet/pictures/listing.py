"""What the user named, as units: files by the thousand, shards and row groups one by one."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from ..datasets.huggingface import PREFIX, is_saved
from ..errors import InputError
from ..images import is_image_path
from .files import Files, find_in, match
from .huggingface import dataset_rows
from .parquet import row_groups
from .storage import expand_url, is_url
from .tar import Tar
from .unit import Unit
from .walking import walk
from .zip import Zip

FILES_IN_UNIT = 1024

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CONTAINERS = (*TARS, ".zip", ".parquet")


def list_units(sources: Iterable[str | os.PathLike[str]], *, listed: bool = False) -> Iterator[Unit]:
    """Yield the units of all sources, in their order; within a folder or pattern, sorted by name.

    Args:
        sources: each one of:
            a file or its URL, taken as a picture whatever it is called, but for `.tar`, `.tar.gz`, `.tgz`, `.tar.bz2`,
            `.tar.xz`, `.zip` and `.parquet`, of which the pictures in it are taken;
            a folder or its URL, of which all files with a suffix of a picture are taken, as by `find_images`, and no
            containers;
            a pattern, which stands for such files, containers and folders;
            `hf:NAME`, `hf:NAME:CONFIG`, or a folder that `save_to_disk` wrote, for a Hugging Face dataset.
        listed: whether they stand in a list of many, where a path that is not there any more is a picture that fails.

    Raises:
        InputError: a source is not there, unless it is `listed`; cannot be listed, or holds no picture.
        MissingExtraError: what reads it is not installed.
    """
    yield from in_units(found for source in sources for found in _expand(os.fspath(source), listed=listed))


def in_units(each: Iterable[str | Unit]) -> Iterator[Unit]:
    """Yield the units, and the files before, between and after them by the thousand."""
    paths: list[str] = []
    for found in each:
        if isinstance(found, str):
            paths.append(found)
        if paths and (len(paths) == FILES_IN_UNIT or not isinstance(found, str)):
            yield Files(tuple(paths))
            paths = []
        if isinstance(found, Unit):
            yield found
    if paths:
        yield Files(tuple(paths))


def check_sources(sources: Iterable[str | os.PathLike[str]]) -> None:
    """Raise `InputError` for the first source that is a path where nothing is: what can be known in no time."""
    for source in (os.fspath(source) for source in sources):
        if not (source.startswith(PREFIX) or is_url(source) or glob.has_magic(source) or os.path.lexists(source)):
            raise InputError(f"{source!r} does not exist: check the path")


def read_list(path: str, *, null: bool = False) -> Iterator[str]:
    """Yield the paths and URLs that a file lists, a line each; `-` is standard input; empty lines are passed over.

    Args:
        path: the file.
        null: whether a zero byte ends each, not a line break, as `find -print0` writes them.

    Raises:
        InputError: it cannot be read.
    """
    end = b"\0" if null else b"\n"
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            rest = b""
            while block := file.read(1 << 16):
                *entries, rest = (rest + block).split(end)
                yield from _decoded(entries, null)
            yield from _decoded([rest], null)
    except OSError as error:
        raise InputError(f"{path!r} cannot be read ({error.strerror}): give a file with a path on each line") from error


def _decoded(entries: Sequence[bytes], null: bool) -> Iterator[str]:
    for entry in entries:
        if plain := entry if null else entry.removesuffix(b"\r"):
            yield os.fsdecode(plain)


def _expand(source: str, *, listed: bool) -> Iterator[str | Unit]:
    """Yield the pictures that are files, by path or URL, and the units."""
    if source.startswith(PREFIX):
        yield from dataset_rows(source)
    elif is_url(source):
        yield from _expand_url(source)
    elif listed and not os.path.lexists(source) and not match(source):
        yield source
    elif Path(source).is_dir():
        yield from dataset_rows(source) if is_saved(source) else find_in(source)
    elif os.path.lexists(source):
        yield from _opened(source)
    else:
        yield from _expand_pattern(source)


def _expand_url(source: str) -> Iterator[str | Unit]:
    found = expand_url(source)
    if found == [source]:
        yield from _opened(source)
        return
    containers = [url for url in found if url.lower().endswith(_CONTAINERS)]
    shards = set(containers) if glob.has_magic(source) else set()
    taken = [url for url in found if is_image_path(url) or url in shards]
    if not taken:
        hint = f"name the shards and tables in it, such as {containers[0]!r}, or by a pattern" if containers else ""
        raise InputError(f"{source!r} holds no picture: {hint or 'check the address'}")
    for url in taken:
        yield from _opened(url)


def _expand_pattern(source: str) -> Iterator[str | Unit]:
    """Yield what matches: containers, and what `find_in` finds."""
    containers = [path for path in match(source) if path.lower().endswith(_CONTAINERS)]
    if not containers:
        yield from find_in(source)
        return
    seen: set[tuple[int, int]] = set()
    for path in match(source):
        yield from _container(path) or walk(path, seen)


def _opened(path: str) -> Iterator[str | Unit]:
    """Yield the units of a file that holds pictures, or its path, for it is one itself."""
    if units := _container(path):
        yield from units
    else:
        yield path


def _container(path: str) -> list[Unit]:
    """Return the units of a file that holds pictures; none for one that is a picture itself."""
    name = path.lower()
    if name.endswith(TARS):
        return [Tar(path)]
    if name.endswith(".zip"):
        return [Zip(path)]
    return list(row_groups(path)) if name.endswith(".parquet") else []
