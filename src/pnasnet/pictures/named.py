"""The way back from a row to its picture: pictures found again by their names."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from ..errors import ImageError, PnasnetError, UnreachableError
from ..images import Source
from ..support.paths import utf8
from ..support.urls import is_url
from . import huggingface, parquet
from .access import CLOSED, Access
from .files import Files
from .huggingface import PREFIX, is_saved
from .kinds import ARCHIVE, kind_of
from .outages import sorting_errors
from .tar import Tar
from .unit import Picture
from .zip import Zip

T = TypeVar("T")
Open = Callable[[str, Collection[str], Access], Iterator[Picture]]
"""From a shard, and the names of some of its pictures, to these pictures."""

_GIVE_UP = 4  # pictures or shards in a row, each of which was tried several times
_ROW = re.compile(r"(.+)#\d+", re.DOTALL)
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")


def find_named(names: Iterable[str], access: Access | None = None) -> Iterator[Picture]:
    r"""Yield the pictures with these names, each name once, shard by shard.

    A shard is opened once for all pictures wanted from it: a tar is read up to the last of them; of zip and Parquet
    files and of datasets, only those are read. A picture that can no longer be read fails with a reason; so do all
    pictures of a server that has not answered a few times in a row.

    Args:
        names: as in the column `path`, where bytes that are not UTF-8 are `\xNN`, or as sources name them. In a URL,
            what precedes the first `.tar/` and the like is a shard; in a path, if it is a file. A shard's own name
            stands for whatever cannot be read of it.
        access: the files and hosts that names may lead to, and where relative paths begin; None for any.
    """
    shards: dict[tuple[Open, str], dict[str, str]] = {}
    for name in names:
        try:
            place = name if access is None or name.startswith(PREFIX) else access.check(name, name)
        except ImageError as error:
            yield Picture.failing(name, error)
            continue
        shards.setdefault(_locate(place), {}).setdefault(utf8(place), name)
    hosts: dict[str, _Host] = {}
    for (open_shard, shard), wanted in shards.items():
        where = urlsplit(shard).netloc if is_url(shard) else shard
        opening = partial(open_shard, shard, wanted, access or CLOSED)
        yield from _pictures(opening, shard, wanted, hosts.setdefault(where, _Host(where)))


def _locate(name: str) -> tuple[Open, str]:
    """Return the shard that a picture lies in, and what opens it; a picture of its own is its own shard."""
    row = _ROW.fullmatch(name)
    whole = row[1] if row else ""
    if whole.startswith(PREFIX):
        return huggingface.rows_named, whole
    if not is_url(name):
        return _locate_path(name, whole)
    if kind_of(whole) == "parquet":
        return parquet.rows_named, whole
    path = name.find("/", name.index("://") + 3)  # hosts and buckets may be called so, too
    archive = ARCHIVE.search(name, path) if path > 0 else None
    shard = name[: archive.end()] if archive else name
    return _opener(shard), shard


def _locate_path(name: str, whole: str) -> tuple[Open, str]:
    """Return the same for a path; `whole` is what precedes its row number, if it has one."""
    path = _on_disk(name)
    if not os.path.lexists(path):
        for shard in (*(name[: archive.end()] for archive in ARCHIVE.finditer(name)), whole):
            found = _on_disk(shard)
            if os.path.isfile(found):  # noqa: PTH113 - never raises
                return _opener(found), found
            if shard == whole and _is_split(found):
                return huggingface.rows_named, found
    return _opener(path), path


def _opener(shard: str) -> Open:
    """Return what opens a shard, by its name as for sources."""
    kind = kind_of(shard)
    if kind == "parquet":
        return parquet.rows_named
    return _of_tar if kind == "tar" else _of_zip if kind == "zip" else _of_itself


def _of_tar(path: str, names: Collection[str], access: Access) -> Iterator[Picture]:
    return Tar(path).named(names)


def _of_zip(path: str, names: Collection[str], access: Access) -> Iterator[Picture]:
    return Zip(path).named(names)


def _of_itself(path: str, names: Collection[str], access: Access) -> Iterator[Picture]:
    for picture in Files((path,)).pictures():
        yield replace(picture, name=path)


def _on_disk(path: str) -> str:
    """Return a row's path as it is on the disk: with the bytes that are not UTF-8."""
    if "\\x" not in path or os.path.lexists(path):
        return path
    restored = os.fsdecode(_ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), os.fsencode(path)))
    return restored if os.path.lexists(restored) else path


def _is_split(path: str) -> bool:
    """Return whether it names a split of a saved dataset, as `folder/split`."""
    try:
        return "/" in path and is_saved(path.rpartition("/")[0])
    except OSError:
        return False


def _pictures(
    open_shard: Callable[[], Iterator[Picture]], shard: str, wanted: dict[str, str], host: "_Host"
) -> Iterator[Picture]:
    """Yield the pictures of a shard, and failures for those that it does not have.

    `wanted` maps the pictures' names in the shard to the names that were asked for.
    """
    left = dict(wanted)
    failure = "holds no picture" if shard in wanted else "no longer there: written again, or under another name"
    try:
        pictures = host.ask(shard, open_shard)
        while left and (picture := host.ask(shard, partial(next, pictures, None))) is not None:
            name = left.pop(utf8(picture.name), None)
            if name is not None:
                yield Picture(name, partial(host.read, picture))
    except PnasnetError as error:
        failure = str(error).removeprefix(f"{shard}: ")
    for name in left.values():
        yield Picture.failing(name, ImageError(f"{name}: {failure}"))


class _Host:
    """A server, or a file on disk, that is left alone once it has not answered a few times in a row."""

    def __init__(self, name: str) -> None:
        self._name, self._misses = name, 0

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Return `call()`. Raises only `PnasnetError`, and `MemoryError`."""
        if self._misses >= _GIVE_UP:
            raise UnreachableError(f"{what}: not asked for: {self._name} has not answered {_GIVE_UP} times in a row")
        try:
            with sorting_errors(what, "damaged"):
                return call()
        except UnreachableError:
            self._misses += 1
            raise
        except ImageError:  # there is an answer
            self._misses = 0
            raise

    def read(self, picture: Picture) -> Source:
        """Return a picture's bytes or path. Errors as for `ask`."""
        found = self.ask(picture.name, picture.read)
        self._misses = 0  # which no shard that is opened has shown yet
        return found
