"""One way to report progress, from every long operation to whoever shows it."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives the state of a long operation, in the thread that called the operation.

    An exception raised here stops the operation; finished work is kept where the operation is resumable.
    """

    def __call__(self, stage: str, done: int, total: int | None) -> object:
        """Receive how many items of a stage are done, of how many; `total` is None if unknown."""
        ...


def silent(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""


def counter(progress: Progress, stage: str, total: int | None, done: int = 0) -> Callable[[int], None]:
    """Return a function that adds to the number of items done and reports it. Reports `done` at once."""
    count = done
    progress(stage, count, total)

    def advance(items: int) -> None:
        nonlocal count
        count += items
        progress(stage, count, total)

    return advance
