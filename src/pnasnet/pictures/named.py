"""Pictures found again by what their rows call them, wherever they lie: the way back from a row to its picture."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from ..datasets.huggingface import PREFIX, is_saved
from ..errors import ImageError, PnasnetError
from ..images import Source
from ..support.paths import utf8
from . import huggingface, parquet
from .container import reading
from .files import Files
from .listing import TARS
from .storage import UnreachableError, is_url
from .tar import Tar
from .unit import Picture
from .zip import Zip

T = TypeVar("T")
Open = Callable[[str, Collection[str]], Iterator[Picture]]
"""From a shard, and what rows call some of its pictures, to these pictures."""

_GIVE_UP = 4  # pictures or shards in a row, each of which was tried several times
_ARCHIVE = re.compile(f"({'|'.join(map(re.escape, (*TARS, '.zip')))})(?=/)", re.IGNORECASE)
_ROW = re.compile(r"(.+)#\d+", re.DOTALL)
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")


def find_named(names: Iterable[str]) -> Iterator[Picture]:
    r"""Yield the pictures that rows call so, once for each name, shard by shard.

    A shard is opened once for all that is wanted of it: a tar is read from its beginning to the last of them; of zip
    and Parquet files and of datasets, what is wanted. Nothing is opened that no name leads to. What is not to be had
    any more is a picture that fails and says why; so is all of a server that has not answered a few times in a row.

    Args:
        names: as in the column `path`, where bytes that are not UTF-8 are `\xNN`, or as sources call them. Of a URL,
            what precedes the first `.tar/` and the like is taken for a shard; of a path, if it is a file. A shard's own
            name stands for what cannot be read of it.
    """
    shards: dict[tuple[Open, str], dict[str, str]] = {}
    for name in names:
        shards.setdefault(_locate(name), {}).setdefault(utf8(name), name)
    hosts: dict[str, _Host] = {}
    for (open_shard, shard), wanted in shards.items():
        where = urlsplit(shard).netloc if is_url(shard) else shard
        yield from _pictures(open_shard, shard, wanted, hosts.setdefault(where, _Host(where)))


def _locate(name: str) -> tuple[Open, str]:
    """Return in which shard a picture lies, and what opens it; one that lies in none is its own."""
    row = _ROW.fullmatch(name)
    whole = row[1] if row else ""
    if whole.startswith(PREFIX):
        return huggingface.rows_named, whole
    if not is_url(name):
        return _locate_path(name, whole)
    if whole.lower().endswith(".parquet"):
        return parquet.rows_named, whole
    path = name.find("/", name.index("://") + 3)  # hosts and buckets may be called so, too
    archive = _ARCHIVE.search(name, path) if path > 0 else None
    shard = name[: archive.end()] if archive else name
    return _opener(shard), shard


def _locate_path(name: str, whole: str) -> tuple[Open, str]:
    """Return the same for a path; `whole` is what precedes the number of its row, if it ends with one."""
    path = _on_disk(name)
    if not os.path.lexists(path):
        for shard in (*(name[: archive.end()] for archive in _ARCHIVE.finditer(name)), whole):
            found = _on_disk(shard)
            if os.path.isfile(found):  # noqa: PTH113 - never raises
                return _opener(found), found
            if shard == whole and _is_split(found):
                return huggingface.rows_named, found
    return _opener(path), path


def _opener(shard: str) -> Open:
    """Return what opens a shard, by its name as sources are taken."""
    name = shard.lower()
    if name.endswith(".parquet"):
        return parquet.rows_named
    return _of_tar if name.endswith(TARS) else _of_zip if name.endswith(".zip") else _of_itself


def _of_tar(path: str, names: Collection[str]) -> Iterator[Picture]:
    return Tar(path).named(names)


def _of_zip(path: str, names: Collection[str]) -> Iterator[Picture]:
    return Zip(path).named(names)


def _of_itself(path: str, names: Collection[str]) -> Iterator[Picture]:
    return Files((path,)).pictures()


def _on_disk(path: str) -> str:
    """Return a path that a row has as it is on the disk: with the bytes that are not UTF-8."""
    if "\\x" not in path or os.path.lexists(path):
        return path
    restored = os.fsdecode(_ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), os.fsencode(path)))
    return restored if os.path.lexists(restored) else path


def _is_split(path: str) -> bool:
    """Whether it names a split of a saved dataset, as `folder/split`."""
    try:
        return "/" in path and is_saved(path.rpartition("/")[0])
    except OSError:
        return False


def _pictures(open_shard: Open, shard: str, wanted: dict[str, str], host: "_Host") -> Iterator[Picture]:
    """Yield the pictures of a shard, and as failures those that it does not have.

    `wanted` has the names as they were asked for, by how rows have them.
    """
    left = dict(wanted)
    failure = "holds no picture" if shard in wanted else "not there any more: written anew, or under another name"
    try:
        pictures = host.ask(shard, partial(open_shard, shard, wanted))
        while left and (picture := host.ask(shard, partial(next, pictures, None))) is not None:
            name = left.pop(utf8(picture.name), None)
            if name is not None:
                yield Picture(name, partial(host.read, picture))
    except PnasnetError as error:
        failure = str(error).removeprefix(f"{shard}: ")
    for name in left.values():
        yield Picture.failing(name, ImageError(f"{name}: {failure}"))


class _Host:
    """A server, or a file on disk, that is not asked any more once it has not answered so many times in a row."""

    def __init__(self, name: str) -> None:
        self._name, self._misses = name, 0

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Return what is asked for. Raises one of our errors, whatever comes of it."""
        if self._misses >= _GIVE_UP:
            raise UnreachableError(f"{what}: not asked for: {self._name} has not answered {_GIVE_UP} times in a row")
        try:
            with reading(what, "damaged"):
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
