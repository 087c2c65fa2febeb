"""From what a user names to labelled pictures."""

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..pictures.access import CLOSED, Access
from ..pictures.files import match
from ..pictures.huggingface import PREFIX, is_saved
from ..pictures.kinds import kind_of
from ..support import files
from . import imagenet
from .folder import bulk_files, has_subfolders, open_folder, split_folders
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


def open_dataset(
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    image_column: str | None = None,
    access: Access = CLOSED,
) -> LabelledImages:
    """Return the labelled pictures in `source`; docs/datasets.md has all forms.

    Args:
        source: a folder for each class; Parquet files or uncompressed tar shards, one, a folder of them, or a pattern
            with `*` or `{0000..0009}`; `hf:NAME` or `hf:NAME:CONFIG`; a folder that `save_to_disk` wrote; ILSVRC-2012.
        split: which one, if there are several, such as "train"; "val" and "validation" are the same.
        image_column: name of the column of pictures in tables; None for `image` or `img`.
        access: the files and hosts that tables may lead to.

    Raises:
        InputError: it does not exist, is none of these, or is damaged or incomplete; in one line, with what to do.
        MissingExtraError: the library for a Hugging Face dataset is not installed.
    """
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"a dataset is a path, a pattern or hf:NAME, but a {type(source).__name__} was given")
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
    return imagenet.open_flat(folder) if imagenet.is_flat(folder) else open_folder(folder)


def _bulk_files(folder: str) -> list[str]:
    """Return the Parquet and tar files in `folder`, or in its folder `data`, where Hugging Face puts them."""
    files = bulk_files(folder)
    if files and has_subfolders(folder):
        raise InputError(
            f"{folder!r} holds folders and files such as {Path(files[0]).name!r}, so that it is not clear what it is: "
            f"name the files, as in {str(Path(folder, '*' + Path(files[0]).suffix))!r}, or move them"
        )
    data = Path(folder, "data")
    return files or (bulk_files(str(data)) if data.is_dir() else [])


def _open_files(paths: Sequence[str], where: str, split: str | None, tables: _Tables) -> LabelledImages:
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        raise InputError(f"{where!r} has files of several kinds ({' '.join(sorted(kinds))}): open one kind at a time")
    paths = choose_files(paths, split, where)
    if kinds == {"parquet"}:
        return open_parquet(paths, *tables)
    if imagenet.is_original_tar(paths[0]) and len(paths) == 1:
        return imagenet.open_tar(paths[0])
    return open_tars(paths)


def _kind(path: str) -> str:
    """Return `parquet` or `tar`, by name. Compressed tars pass for tars, so that their reader says what to do."""
    kind = kind_of(Path(path).name)
    if kind in ("tar", "parquet"):
        return kind
    raise InputError(
        f"{path!r} is no dataset: open a folder for each class, Parquet files, tar shards, hf:NAME or ILSVRC-2012"
    )


def _expand(pattern: str) -> list[str]:
    """Return the files that match a pattern; those that braces name must all exist."""
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
    """Return what the braces in `pattern` stand for: `{0..9}`, padded as the first number is, or `{a,b}`."""
    parts = _BRACES.split(pattern)
    choices = [[part] if index % 2 == 0 else _alternatives(part, pattern) for index, part in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > _MAX_FILES:
        raise InputError(f"{pattern!r} stands for {count:,} files, more than {_MAX_FILES:,}: check the numbers")
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _alternatives(inside: str, pattern: str) -> Sequence[str]:
    found = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", inside)
    if not found:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(found.group(1)), int(found.group(2))
    if last < first or last - first >= _MAX_FILES:
        raise InputError(f"{pattern!r} counts from {first} to {last}: count up, and to no more than {_MAX_FILES:,}")
    return [str(number).zfill(len(found.group(1))) for number in range(first, last + 1)]
