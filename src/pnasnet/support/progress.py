"""The protocol by which long operations report their progress."""

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from .contexts import contextmanager

if TYPE_CHECKING:
    from tqdm import tqdm


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


@contextmanager
def bars(quiet: bool = False, unit: str = "row") -> Iterator[Progress]:
    """Show a bar for each stage of the work in the block; yields the `Progress` to pass to it."""
    shown: dict[str, tqdm[None]] = {}

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage not in shown:
            # With a delay, tqdm draws no bar before the first row.
            shown[stage] = bar(not quiet, total=total, initial=done, desc=stage, unit=unit, delay=1e-9, leave=False)
        shown[stage].update(done - shown[stage].n)
        if done == total:
            shown.pop(stage).close()

    try:
        yield progress
    finally:
        for each in shown.values():
            each.close()


def bar(show: bool, **options: Any) -> "tqdm[None]":
    """Return a bar of tqdm on standard error, if that is a terminal; in a notebook, a widget. `show=False` hides it."""
    if _in_notebook():  # its standard error is no terminal
        with warnings.catch_warnings():  # without ipywidgets the bar is text
            warnings.filterwarnings("ignore", "IProgress not found")
            from tqdm.auto import tqdm

        return tqdm(disable=not show, **options)
    from tqdm import tqdm

    return tqdm(disable=None if show else True, **options)


def _in_notebook() -> bool:
    """Return whether this process runs the cells of a notebook; to have imported ipykernel is not enough."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")
