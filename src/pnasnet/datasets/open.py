"""`open_dataset` opens labelled images by a path, a pattern or the name of a Hugging Face dataset."""

import itertools
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError, UnknownNameError
from ..pictures.access import CLOSED, Access
from ..pictures.files import match
from ..pictures.huggingface import PREFIX, is_saved
from ..pictures.kinds import kind_of
from ..support import files
from ..support.arguments import checked
from . import imagenet
from .folder import bulk_files, open_folder, split_folders, subfolders
from .huggingface import open_huggingface
from .labelled import LabelledImages
from .parquet import open_parquet
from .splits import choose, choose_files, refuse
from .webdataset import open_tars

_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_FILES = 100_000


class _Tables(NamedTuple):
    image_column: str | None
    access: Access

    def refuse_column(self, where: str) -> None:
        """Raise `UnknownNameError` if a column is named, for a source that is not a table."""
        if self.image_column is not None:
            raise UnknownNameError(f"{where!r} has no columns: leave out the image column {self.image_column!r}")


@checked
def open_dataset(
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    image_column: str | None = None,
    access: Access = CLOSED,
) -> LabelledImages:
    """Return the labelled images in `source`; docs/datasets.md describes all forms.

    Args:
        source: a folder of class folders; Parquet files or uncompressed tar shards (one, a folder of them, or a pattern
            with `*` or `{0000..0009}`); `hf:NAME` or `hf:NAME:CONFIG`; a folder written by `save_to_disk`; ILSVRC-2012.
        split: the split, if there are several, such as "train"; "val" and "validation" mean the same.
        image_column: name of the column of images in tables; None for `image` or `img`.
        access: the files and hosts that paths and URLs in tables may refer to.

    Raises:
        InputError: the source does not exist, has an unknown form, or is damaged or incomplete.
        UnknownNameError: there is no such split, or no such column of images.
        MissingExtraError: the library for a Hugging Face dataset is not installed.

    Example:
        >>> from pnasnet.datasets import open_dataset
        >>> data = open_dataset("animals")
        >>> data.classes[data.labels[0]]
        'bird'
    """
    where, tables = os.fsdecode(source), _Tables(image_column, access)
    if where.startswith(PREFIX):
        return open_huggingface(where, split, *tables)
    with files.reading(repr(where), "check the path"):
        is_folder, exists = Path(where).is_dir(), Path(where).exists()
    if is_folder:
        return _open_folder(where, split, tables)
    return _open_files([where] if exists else _expand(where), where, split, tables)


def _open_folder(folder: str, split: str | None, tables: _Tables) -> LabelledImages:
    if is_saved(folder):
        return open_huggingface(folder, split, *tables)
    if splits := imagenet.kaggle_splits(folder) or split_folders(folder):
        return _open_folder(choose(splits, split, folder), None, tables)
    if found := _bulk_files(folder):
        return _open_files(found, folder, split, tables)
    refuse(split, folder)
    tables.refuse_column(folder)
    return imagenet.open_flat(folder) if imagenet.is_flat(folder) else open_folder(folder)


def _bulk_files(folder: str) -> list[str]:
    """Return the Parquet and tar files in `folder`, or in its folder `data`, where Hugging Face puts them."""
    found = bulk_files(folder)
    if found and subfolders(folder):
        first = Path(found[0])
        raise InputError(
            f"{folder!r} contains both folders and files such as {first.name!r}: name the files with "
            f"{str(Path(folder, '*' + first.suffix))!r}, or move them"
        )
    data = Path(folder, "data")
    return found or (bulk_files(str(data)) if data.is_dir() else [])


def _open_files(paths: Sequence[str], where: str, split: str | None, tables: _Tables) -> LabelledImages:
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        raise InputError(f"{where!r} has files of several kinds ({' '.join(sorted(kinds))}): open one kind at a time")
    paths = choose_files(paths, split, where)
    if kinds == {"parquet"}:
        return open_parquet(paths, *tables)
    tables.refuse_column(where)
    if imagenet.is_original_tar(paths[0]) and len(paths) == 1:
        return imagenet.open_tar(paths[0])
    return open_tars(paths)


def _kind(path: str) -> str:
    """Return `parquet` or `tar`, by name. Compressed tars count as tars, which their reader refuses with a reason."""
    kind = kind_of(Path(path).name)
    if kind in ("tar", "parquet"):
        return kind
    raise InputError(
        f"{path!r} is not a dataset: name a folder of class folders, Parquet files, tar shards, hf:NAME or ILSVRC-2012"
    )


def _expand(pattern: str) -> list[str]:
    """Return the files that match a pattern. Each alternative in braces must match at least one."""
    paths = list[str]()
    for expanded in _expand_braces(pattern):
        if Path(expanded).is_file():
            paths.append(expanded)
            continue
        found = match(expanded)
        if not found:
            problem = "matches no file" if any(sign in expanded for sign in "*?[") else "does not exist"
            raise InputError(f"{expanded!r} {problem}: check the path")
        paths += found
    return list(dict.fromkeys(paths))


def _expand_braces(pattern: str) -> list[str]:
    """Return the patterns to which `{0..9}` (padded like the first number) and `{a,b}` in `pattern` expand."""
    parts = _BRACES.split(pattern)
    choices = [[part] if index % 2 == 0 else _alternatives(part, pattern) for index, part in enumerate(parts)]
    count = math.prod(map(len, choices))
    if count > _MAX_FILES:
        raise InputError(f"{pattern!r} expands to {count:,} files, more than {_MAX_FILES:,}: check the numbers")
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _alternatives(inside: str, pattern: str) -> Sequence[str]:
    found = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", inside)
    if not found:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(found.group(1)), int(found.group(2))
    if last < first or last - first >= _MAX_FILES:
        raise InputError(f"{pattern!r} counts from {first} to {last}: count up, by at most {_MAX_FILES:,}")
    return [str(number).zfill(len(found.group(1))) for number in range(first, last + 1)]
