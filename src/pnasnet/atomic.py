"""Files that are there whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError


def check_target(path: Path) -> None:
    """Raise `OutputError` where the folder is missing, or a folder is in its place: before the work, not after."""
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; afterwards the file is moved to `path`, or gone if anything failed.

    The name keeps the suffix of `path`. Raises OSError where the file could not be flushed or moved.
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
