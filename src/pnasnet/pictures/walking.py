"""Which pictures lie in a folder: however deep, sorted by name, and each folder once even where links go round."""

import os
from collections.abc import Iterator
from pathlib import Path

from pnasnet.errors import InputError
from pnasnet.images.source import is_image_path

FolderId = tuple[int, int]


def walk(start: str, seen: set[FolderId]) -> Iterator[str]:
    """Yield the pictures at and below `start`; without recursion, for folders may be deep.

    Args:
        start: a folder, or a file, which is yielded if its name is that of a picture.
        seen: the folders that are passed over; those that are walked are added.

    Raises:
        InputError: a folder cannot be listed.
    """
    pending = [iter([start])]
    while pending:
        path = next(pending[-1], None)
        if path is None:
            pending.pop()
        elif not Path(path).is_dir():
            if is_image_path(path):
                yield path
        elif (identity := folder_id(path)) not in seen:
            seen.add(identity)
            pending.append(_entries(path))


def list_folder(path: str) -> list[str]:
    """Return the paths of what lies in the folder at `path`, sorted by name, without names that begin with a dot.

    Raises:
        InputError: it cannot be listed.
    """
    return list(_entries(path))


def folder_id(path: str) -> FolderId:
    """Return what is the same for two paths if and only if they lead to the same folder.

    Raises:
        InputError: it cannot be reached.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _cannot_list(path, error) from error
    return status.st_dev, status.st_ino


def _entries(path: str) -> Iterator[str]:
    """Return the paths that `list_folder` does one by one: of a folder of millions, only the names are in memory."""
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise _cannot_list(path, error) from error
    return (os.path.join(path, name) for name in names)  # noqa: PTH118 - a Path would drop a dot before it


def _cannot_list(path: str, error: OSError) -> InputError:
    return InputError(f"{path!r} cannot be listed ({error.strerror}): make it readable, or move it")
