"""Lock a resumable folder, so that one process writes to it at a time."""

from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import LockedError
from .contexts import contextmanager
from .files import check_expanded, writing

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create `folder` if needed, and hold its lock within the block.

    The system releases the lock when the process ends, however it ends.

    Raises:
        LockedError: another process or thread holds the lock; raised at once.
        OutputError: the folder cannot be created or written to.
        InputError: the folder's name begins with an unexpanded `~`.
    """
    check_expanded(folder)
    lock = FileLock(folder / LOCK)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise LockedError(
                f"{folder} is in use by another run: wait until it ends, or choose another folder"
            ) from None
    try:
        yield
    finally:
        lock.release()
