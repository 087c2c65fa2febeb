"""Progress bars, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import stop_on_signal

if TYPE_CHECKING:
    from ..support.progress import Progress


@contextmanager
def bars(quiet: bool, unit: str = "row") -> Iterator["Progress"]:
    """Show a bar for each stage of the work in the block; yields the `Progress` to pass on."""
    from tqdm import tqdm

    shown: dict[str, tqdm[None]] = {}

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage not in shown:
            # Disabled by None if standard error is not a terminal. The delay: no bar before the first row.
            shown[stage] = tqdm(
                total=total, initial=done, desc=stage, unit=unit, disable=quiet or None, delay=1e-9, leave=False
            )
        shown[stage].update(done - shown[stage].n)
        if done == total:
            shown.pop(stage).close()

    try:
        yield progress
    finally:
        for bar in shown.values():
            bar.close()


@contextmanager
def stoppable_bars(quiet: bool, unit: str, then: str = "") -> Iterator["Progress"]:
    """As `bars`, but the first SIGINT or SIGTERM ends the work at its next report, with `then` in the error."""
    with stop_on_signal(then) as check, bars(quiet, unit) as show:

        def progress(stage: str, done: int, total: int | None) -> None:
            check()
            show(stage, done, total)

        yield progress
