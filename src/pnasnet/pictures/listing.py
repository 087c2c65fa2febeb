"""Lists sources as units: files by the thousand, shards and row groups one by one."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import cast

from ..errors import InputError
from ..support.arguments import checked
from ..support.urls import is_url, redact
from .access import CLOSED, Access
from .files import Files, find_in
from .huggingface import PREFIX, dataset_rows, is_saved
from .kinds import is_hidden, is_picture, kind_of, local_path, path_of
from .parquet import row_groups
from .passed_over import PassedOver
from .storage import expand_url
from .tar import Tar
from .unit import Unit
from .zip import Zip

FILES_IN_UNIT = 1024


@checked
def list_units(
    sources: Iterable[str | os.PathLike[str]],
    *,
    listed: bool = False,
    image_column: str | None = None,
    access: Access = CLOSED,
    passed_over: PassedOver | None = None,
) -> Iterator[Unit]:
    """Yield the units of all sources, in order; within a folder or pattern, sorted by name.

    Args:
        sources: each is one of:
            a file or its URL: an image with any name, or a tar (also `.tar.gz`, `.tar.zst`, …), `.zip` or `.parquet`
            file of images;
            a folder or its URL: all files in it with the suffix of an image format, as for `find_images`, without
            archives and tables;
            a pattern, which matches such files, archives, tables and, except behind a URL, folders;
            a Hugging Face dataset: `hf:NAME`, `hf:NAME:CONFIG`, or a folder written by `save_to_disk`.
        listed: whether the sources are lines of a list: they are not patterns, and a missing path becomes an error row.
        image_column: name of the column of images in tables; None for `image` or `img`.
        access: the files and hosts that paths and URLs in tables may refer to.
        passed_over: counts skipped files in folders.

    Raises:
        InputError: a source does not exist (unless `listed`), cannot be listed, or contains no images.
        MissingExtraError: a package that reads a source is not installed.

    Example:
        >>> from pnasnet.extract import list_units, pictures_of
        >>> [picture.name for picture in pictures_of(list_units(["photos"]))][:2]
        ['photos/astronaut.jpg', 'photos/chelsea.jpg']
    """
    listing = _Listing(listed, image_column, access, PassedOver() if passed_over is None else passed_over)
    yield from in_units(found for source in sources for found in listing.expand(local_path(os.fspath(source))))


@checked
def in_units(each: Iterable[str | Unit]) -> Iterator[Unit]:
    """Yield the units in order, and the files (paths or URLs) between them in units of up to `FILES_IN_UNIT`."""
    for is_path, group in groupby(each, lambda found: isinstance(found, str)):
        if not is_path:
            yield from cast("Iterator[Unit]", group)
        while paths := tuple(islice(group, FILES_IN_UNIT)):
            yield Files(cast("tuple[str, ...]", paths))


@checked
def check_sources(sources: Iterable[str | os.PathLike[str]]) -> None:
    """Raise `InputError` for the first source that is a missing path or half a URL, before anything is listed."""
    for source in (local_path(os.fspath(source)) for source in sources):
        if is_url(source) and not source.partition("://")[2].strip("/"):
            raise InputError(f"{source!r} is not a whole URL: check the address")
        if not (source.startswith(PREFIX) or is_url(source) or glob.has_magic(source) or os.path.lexists(source)):
            raise InputError(f"{source!r} does not exist: check the path")


@dataclass(frozen=True)
class _Listing:
    """Turns sources into files and units; the fields are the arguments of `list_units`."""

    listed: bool
    image_column: str | None
    access: Access
    passed_over: PassedOver

    def expand(self, source: str) -> Iterator[str | Unit]:
        """Yield image files, by path or URL, and units."""
        if source.startswith(PREFIX):
            yield from dataset_rows(source, self.image_column, self.access)
        elif is_url(source):
            yield from self._expand_url(source)
        elif self.listed and not os.path.lexists(source):
            yield source
        elif Path(source).is_dir() and is_saved(source):
            yield from dataset_rows(source, self.image_column, self.access)
        elif Path(source).is_dir():
            yield from find_in(source, self.passed_over)
        elif os.path.lexists(source):
            yield from self._open(source)
        else:
            for path in find_in(source, self.passed_over, kind_of):
                yield from self._open(path)

    def _expand_url(self, source: str) -> Iterator[str | Unit]:
        found = expand_url(source, literal=self.listed)
        if found == [source]:
            yield from self._open(source)
            return
        own = path_of(source).split("/")
        if not any(part.startswith(".") and glob.has_magic(part) for part in own):
            found = [url for url in found if not any(map(is_hidden, set(path_of(url).split("/")).difference(own)))]
        many = [url for url in found if kind_of(url)]
        taken = {url for url in found if is_picture(url) or (kind_of(url) and glob.has_magic(source))}
        if not taken:
            hint = f"name the shards and tables in it, such as {redact(many[0])!r}, or use a pattern" if many else ""
            raise InputError(f"{redact(source)!r} contains no images: {hint or 'check the address'}")
        for url in found:
            if url in taken:
                yield from self._open(url)
            else:
                self.passed_over.add(redact(url))

    def _open(self, path: str) -> Iterator[str | Unit]:
        """Yield the units of an archive or table, or the path of any other file, which is an image itself."""
        match kind_of(path):
            case "parquet":
                yield from row_groups(path, self.image_column, self.access)
            case "tar":
                yield Tar(path)
            case "zip":
                yield Zip(path)
            case None:
                yield path
