"""Searches folders for images: at any depth, sorted by name, and each folder once even if links form a loop."""

import os
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from ..images import is_image_path
from ..support import files
from .kinds import is_hidden
from .passed_over import HEAD, PassedOver

FolderId = tuple[int, int]


def walk(
    start: str, seen: set[FolderId], passed_over: PassedOver | None = None, others: Container[str] = ()
) -> Iterator[str]:
    """Yield the images in `start` and below; without recursion, since folders may be deep.

    Args:
        start: a folder, or a file, which is yielded if it has the suffix of an image format.
        seen: folders to skip; those that are searched are added.
        passed_over: counts the other files.
        others: files that are neither yielded nor counted, except `start`.

    Raises:
        InputError: a folder cannot be listed.
    """
    pending = [iter([start])]
    while pending:
        path = next(pending[-1], None)
        if path is None:
            pending.pop()
        elif not Path(path).is_dir():
            if path in others and path != start:
                continue
            if is_image_path(path):
                yield path
            elif passed_over is not None:
                passed_over.add(path, partial(files.read_head, path, HEAD))
        elif (identity := folder_id(path)) not in seen:
            seen.add(identity)
            pending.append(_entries(path))


def list_folder(path: str) -> list[str]:
    """Return the paths of the entries of a folder that are not hidden, sorted by name. Raises `InputError`."""
    return list(_entries(path))


def folder_id(path: str) -> FolderId:
    """Return an identity that is equal for two paths if and only if they lead to the same folder.

    Raises `InputError`.
    """
    with _listing(path):
        status = Path(path).stat()
    return status.st_dev, status.st_ino


def _entries(path: str) -> Iterator[str]:
    """Yield the paths that `list_folder` returns. For a folder of millions, only the names are in memory."""
    with _listing(path), os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if not is_hidden(entry.name))
    return (os.path.join(path, name) for name in names)  # noqa: PTH118 - a Path would drop a leading dot


def _listing(path: str) -> AbstractContextManager[None]:
    return files.reading(repr(path), "make it readable, or move it")
