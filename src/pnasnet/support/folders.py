"""Folders written whole or not at all."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import OutputError
from .contexts import contextmanager
from .files import temporaries, temporary_path, writing


def check_new_folder(path: Path, files: Collection[str], *, overwrite: bool = False) -> None:
    """Raise `OutputError` unless `replacing_folder` can create a folder at `path`, before any work is done for it.

    `files` are the files of the new folder, by their paths in it. With `overwrite`, an existing folder must not hold
    any other file, which would be lost.
    """
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        with writing(path):
            if not overwrite and any(path.iterdir()):
                raise OutputError(f"{path} exists: choose another folder, or pass --overwrite (overwrite=True)")
            if others := _files_in(path).difference(files):
                raise OutputError(f"{path} also holds {min(others)}, which would be lost: choose another folder")
    elif path.exists() or path.is_symlink():
        raise OutputError(f"cannot write {path}: it is a file; choose another folder")


@contextmanager
def replacing_folder(path: Path, files: Collection[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; after the block, move it to `path`, or remove it on failure.

    `files` are the files that the block writes, by their paths in the folder. With `overwrite`, an existing folder is
    replaced. If the process is killed between the two moves, `path` is missing; old and new files never mix. Temporary
    folders of killed runs for the same `path` are removed.

    Raises:
        OutputError: the folder exists without `overwrite`, or holds files that the new one lacks, which would be lost;
            or any OSError, also in the block.
    """
    check_new_folder(path, files, overwrite=overwrite)
    with writing(path):
        target = path.resolve()
        for temporary in temporaries(target):
            shutil.rmtree(temporary, ignore_errors=True)
        new, old = temporary_path(target), temporary_path(target)
        new.mkdir()
        try:
            yield new
            if target.exists():
                check_new_folder(
                    path, _files_in(new), overwrite=overwrite
                )  # again: another process may have written to it
                _exchange(target, new, old)
            else:
                new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _exchange(target: Path, new: Path, old: Path) -> None:
    """Replace the folder `target` by `new`; on failure, restore it."""
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _files_in(folder: Path) -> set[str]:
    """Return the paths in a folder of all its files, empty folders and links."""
    entries = [
        entry for entry in folder.rglob("*") if entry.is_symlink() or not (entry.is_dir() and any(entry.iterdir()))
    ]
    return {entry.relative_to(folder).as_posix() for entry in entries}
