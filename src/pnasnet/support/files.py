"""Write files whole or not at all, and turn each OSError into one line."""

import errno
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError, PnasnetError
from .contexts import contextmanager

STALE_SECONDS = 3600
"""Age after which a temporary file belongs to a run that was killed: a live one is being written to."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.(.+)", re.DOTALL)


class DamagedError(InputError):
    """A file of this software that does not hold what was written. The message says what to do about it."""


def reason(error: OSError) -> str:
    """Return why the operating system refused, without the errno and the file name that `str(error)` adds."""
    return error.strerror or str(error)


@contextmanager
def writing(target: Path | str, hint: str = "choose another folder") -> Iterator[None]:
    """Turn an OSError in the block into an `OutputError` that names `target` and ends with `hint`.

    The default hint for a full disk is to free some space.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) and hint == "choose another folder"
        raise OutputError(
            f"cannot write {target}: {reason(error)}; {'free some space, or ' if full else ''}{hint}"
        ) from error


@contextmanager
def reading(
    source: Path | str, hint: str = "check the path and the disk", kind: type[PnasnetError] = InputError
) -> Iterator[None]:
    """Turn an OSError in the block into an error of `kind` that names `source` and ends with `hint`."""
    try:
        yield
    except OSError as error:
        raise kind(f"cannot read {source}: {reason(error)}; {hint}") from error


def check_regular(path: Path | str, kind: type[PnasnetError] = InputError) -> None:
    """Raise an error of `kind` for a pipe or a device: opening a pipe would wait for a program that writes to it."""
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise kind(f"{path}: not a regular file: copy it into one")


def read_head(path: Path | str, size: int) -> bytes:
    """Return up to `size` first bytes of a regular file; none if it is none, or cannot be read.

    Opening a named pipe would wait for a program that writes to it.
    """
    try:
        if not Path(path).is_file():
            return b""
        with Path(path).open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def check_expanded(path: Path) -> None:
    """Raise `InputError` for a path that begins with `~`, which shells leave as it is in `--output=~/folder`.

    Arrow expands it to the home folder; other libraries create a folder called `~`.
    """
    if str(path).startswith("~"):
        raise InputError(f"cannot write {path}: the shell did not expand the ~; write the whole path")


def check_target(path: Path, suffix: str = "", inputs: Iterable[str | Path] = ()) -> None:
    """Raise an error if no file may be written to `path`, before any work is done for it.

    Existing files are replaced. A mistyped name must not replace a file of another kind, so a name that does not end in
    `suffix` is an `InputError`. A path that is one of the `inputs`, a folder, or in a missing folder is an
    `OutputError`.
    """
    check_expanded(path)
    if suffix and path.suffix.lower() != suffix:
        raise InputError(f"cannot write {path}: name a file that ends in {suffix}")
    if any(os.path.exists(each) and path.exists() and path.samefile(each) for each in inputs):  # noqa: PTH110 - of any text
        raise OutputError(f"cannot write {path}: it is also an input; choose another name")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file")


def temporary_path(path: Path) -> Path:
    """Return a new path beside `path`, for a file or folder to move to `path` later; `final_name` recognizes it."""
    return path.with_name(f".{os.urandom(4).hex()}.{path.name}")


def final_name(name: str) -> str | None:
    """Return the name to which a temporary file or folder of this name would be moved; None for any other name."""
    temporary = _TEMPORARY.fullmatch(name)
    return temporary[1] if temporary else None


def temporaries(path: Path, *, older_than: float = STALE_SECONDS) -> list[Path]:
    """Return the temporary files and folders for `path` that have not been written to for `older_than` seconds."""
    found = list[Path]()
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another run has just moved it
                if final_name(entry.name) == path.name and entry.stat().st_mtime <= time.time() - older_than:
                    found.append(Path(entry.path))
    return found


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; after the block, move the file there to `path`, or remove it on failure.

    The temporary path has the suffix of `path`. Temporary files of killed runs for the same `path` are removed. Raises
    `OutputError` for any OSError, also in the block.
    """
    with writing(path):
        remove_temporaries(path)
        temporary = temporary_path(path)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_temporaries(path: Path, *, older_than: float = STALE_SECONDS) -> None:
    """Remove the temporary files of `replacing(path)` that have not been written to for `older_than` seconds."""
    for temporary in temporaries(path, older_than=older_than):
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Write a UTF-8 file whole, with `\n` line ends. Raises `OutputError`."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole. Raises `OutputError`."""
    write_text(path, json.dumps(value, indent=1))


def read_json(path: Path, hint: str = "restore it, or choose another folder") -> Any:
    """Return the value in a JSON file, or None if there is no file.

    Raises `DamagedError`, ending with `hint`, if it is damaged, and `InputError` if it cannot be read.
    """
    with reading(path):
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
            raise DamagedError(f"{path} is damaged ({error}): {hint}") from error
