"""The protocol by which long operations report their progress."""

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives the state of a long operation, in the thread that called the operation.

    An exception raised here stops the operation. If the operation is resumable, finished work is kept.
    """

    def __call__(self, stage: str, done: int, total: int | None) -> object:
        """Receive the number of finished items of a stage, and their total, which is None if unknown."""


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
