"""Pictures in a folder: however deep, sorted by name, and each folder once even if links form a circle."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ..images import format_of, is_image_path
from ..support import files
from ..support.text import clean, counted
from .kinds import is_hidden

FolderId = tuple[int, int]

_HEAD = 32
_SAMPLES = 16
_SHOWN = 8


class PassedOver:
    """Counts the files in folders that were not taken, since their names are not those of pictures.

    The first few of each suffix are looked into, so that pictures under other names are reported as such.
    """

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._formats: dict[str, str] = {}
        self._example: dict[str, str] = {}

    def add(self, path: str) -> None:
        """Count a file."""
        suffix = Path(path).suffix.lower()
        self._kinds[suffix] += 1
        self._example.setdefault(suffix, path)
        if self._kinds[suffix] <= _SAMPLES and suffix not in self._formats:
            try:
                with Path(path).open("rb") as file:
                    found = format_of(file.read(_HEAD))
            except OSError:
                return
            if found is not None:
                self._formats[suffix], self._example[suffix] = found.name, path

    @property
    def count(self) -> int:
        """The number of files."""
        return self._kinds.total()

    def __str__(self) -> str:
        """Return one line: how many, of which kinds, pictures first; empty if there are none."""
        if not self._kinds:
            return ""
        order = sorted(self._kinds, key=lambda suffix: (suffix not in self._formats, -self._kinds[suffix], suffix))
        kinds = [self._describe(suffix) for suffix in order[:_SHOWN]]
        rest = sum(self._kinds[suffix] for suffix in order[_SHOWN:])
        kinds += [f"{rest:,} others"] if rest else []
        return f"passed over {counted(self.count, 'file')} without the suffix of a picture: {', '.join(kinds)}"

    def _describe(self, suffix: str) -> str:
        name = f"{self._kinds[suffix]:,} {clean(suffix) if suffix else 'without suffix'}"
        found = self._formats.get(suffix)
        return f"{name} ({found} inside, such as {clean(self._example[suffix])}: rename them)" if found else name


def walk(start: str, seen: set[FolderId], passed_over: PassedOver | None = None) -> Iterator[str]:
    """Yield the pictures at and below `start`; without recursion, since folders may be deep.

    Args:
        start: a folder, or a file, which is yielded if its name is that of a picture.
        seen: folders to pass over; those that are walked are added.
        passed_over: counts the other files.

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
            elif passed_over is not None:
                passed_over.add(path)
        elif (identity := folder_id(path)) not in seen:
            seen.add(identity)
            pending.append(_entries(path))


def list_folder(path: str) -> list[str]:
    """Return the paths of what lies in a folder and is not hidden, sorted by name. Raises `InputError`."""
    return list(_entries(path))


def folder_id(path: str) -> FolderId:
    """Return what is the same for two paths if and only if they lead to the same folder. Raises `InputError`."""
    with _listing(path):
        status = Path(path).stat()
    return status.st_dev, status.st_ino


def _entries(path: str) -> Iterator[str]:
    """Yield the paths that `list_folder` returns: of a folder of millions, only the names are in memory."""
    with _listing(path), os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if not is_hidden(entry.name))
    return (os.path.join(path, name) for name in names)  # noqa: PTH118 - a Path would drop a dot before it


def _listing(path: str) -> AbstractContextManager[None]:
    return files.reading(repr(path), "make it readable, or move it")
