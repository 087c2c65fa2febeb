"""Finds pictures again by the names of their rows."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from ..errors import ImageError, PnasnetError, UnreachableError
from ..images import Source
from ..support.arguments import checked
from ..support.text import utf8
from ..support.urls import is_url
from . import huggingface, parquet
from .access import CLOSED, Access
from .files import Files
from .huggingface import PREFIX, is_saved
from .kinds import ARCHIVE, kind_of
from .outages import sorting_errors
from .storage import read_url
from .tar import Tar
from .unit import Picture
from .zip import Zip

T = TypeVar("T")
SourceKind = Literal["tar", "zip", "parquet", "dataset", "file"]

_GIVE_UP = 4  # unreachable pictures or shards in sequence, each after several attempts
_ROW = re.compile(r"(.+)#\d+", re.DOTALL)
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")


@checked
def find_named(names: Iterable[str], access: Access | None = None) -> Iterator[Picture]:
    r"""Yield the pictures with these names, each name once, shard by shard.

    Each shard is opened once: a tar is read up to the last of its pictures; from zip files, Parquet files and datasets,
    only these pictures are read. A picture that can no longer be read fails with a reason, and so do all pictures of a
    server after several failed requests in sequence.

    Args:
        names: names as in the column `path`, where bytes that are not UTF-8 are `\xNN`, or as in the sources. The shard
            is the part of a URL up to the first `.tar/` or similar, and the same part of a path if it is a file. The
            name of a shard itself is that of a row for its unreadable rest.
        access: the files and hosts that names may refer to, and the folders of relative paths; None for any.

    Example:
        >>> from pnasnet.extract import find_named
        >>> [picture.name for picture in find_named(["photos/coffee.jpg"])]
        ['photos/coffee.jpg']
    """
    shards: dict[tuple[SourceKind, str], dict[str, str]] = {}
    for name in names:
        try:
            place = name if access is None or name.startswith(PREFIX) else access.check(name, name)
        except ImageError as error:
            yield Picture.failing(name, error)
            continue
        shards.setdefault(_locate(place), {}).setdefault(utf8(place), name)
    hosts: dict[str, _Host] = {}
    for (kind, shard), wanted in shards.items():
        where = urlsplit(shard).netloc if is_url(shard) else shard
        is_free = access is None or access.trusted.issuperset(wanted.values())
        opening = partial(_open, kind, shard, wanted, access or CLOSED, is_free=is_free)
        yield from _pictures(opening, shard, wanted, hosts.setdefault(where, _Host(where)))


def _locate(name: str) -> tuple[SourceKind, str]:
    """Return the kind and the name of the shard that contains a picture. An image file is its own shard."""
    row = _ROW.fullmatch(name)
    whole = row[1] if row else ""
    if whole.startswith(PREFIX):
        return "dataset", whole
    if not is_url(name):
        return _locate_path(name, whole)
    if kind_of(whole) == "parquet":
        return "parquet", whole
    path = name.find("/", name.index("://") + 3)  # names of hosts and buckets may look like archives
    archive = ARCHIVE.search(name, path) if path > 0 else None
    shard = name[: archive.end()] if archive else name
    return kind_of(shard) or "file", shard


def _locate_path(name: str, whole: str) -> tuple[SourceKind, str]:
    """Return the same for a path; `whole` is the part before its row number, or empty."""
    path = _on_disk(name)
    if not os.path.lexists(path):
        for shard in (*(name[: archive.end()] for archive in ARCHIVE.finditer(name)), whole):
            found = _on_disk(shard)
            if os.path.isfile(found):  # noqa: PTH113 - never raises
                return kind_of(found) or "file", found
            if shard == whole and _is_split(found):
                return "dataset", found
    return kind_of(path) or "file", path


def _open(kind: SourceKind, shard: str, names: Collection[str], access: Access, *, is_free: bool) -> Iterator[Picture]:
    """Return the pictures of a shard that have these names. Unless `is_free`, its URL leads to allowed hosts only."""
    hosts = None if is_free else access.hosts
    match kind:
        case "tar":
            return Tar(shard, hosts).named(names)
        case "zip":
            return Zip(shard, hosts).named(names)
        case "parquet":
            return parquet.rows_named(shard, names, access, hosts=hosts)
        case "dataset":
            return huggingface.rows_named(shard, names, access)
        case "file" if is_url(shard):
            return iter([Picture(shard, partial(read_url, shard, allowed=hosts))])
        case "file":
            return (replace(picture, name=shard) for picture in Files((shard,)).pictures())


def _on_disk(path: str) -> str:
    """Return the path on disk of the path in a row, where bytes that are not UTF-8 are escaped."""
    if "\\x" not in path or os.path.lexists(path):
        return path
    restored = os.fsdecode(_ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), os.fsencode(path)))
    return restored if os.path.lexists(restored) else path


def _is_split(path: str) -> bool:
    """Return whether a path names a split of a saved dataset, as `folder/split`."""
    try:
        return "/" in path and is_saved(path.rpartition("/")[0])
    except OSError:
        return False


def _pictures(
    open_shard: Callable[[], Iterator[Picture]], shard: str, wanted: dict[str, str], host: "_Host"
) -> Iterator[Picture]:
    """Yield the pictures of a shard, and failures for missing ones.

    `wanted` maps names of pictures in the shard to the names that the caller gave.
    """
    left = dict(wanted)
    failure = "contains no image" if shard in wanted else "no longer in its file, which was changed or replaced"
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
    """A server or a file on disk. After several failures in sequence it is not asked again."""

    def __init__(self, name: str) -> None:
        self._name, self._misses = name, 0

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """Return `call()`. Raises only `PnasnetError` and `MemoryError`."""
        if self._misses >= _GIVE_UP:
            raise UnreachableError(f"{what}: skipped after {_GIVE_UP} failures in sequence of {self._name}")
        try:
            with sorting_errors(what, "damaged"):
                return call()
        except UnreachableError:
            self._misses += 1
            raise
        except ImageError:  # an answer
            self._misses = 0
            raise

    def read(self, picture: Picture) -> Source:
        """Return a picture's bytes or path. Raises like `ask`."""
        found = self.ask(picture.name, picture.read)
        self._misses = 0  # opening a shard, which may read nothing, does not count as an answer
        return found
