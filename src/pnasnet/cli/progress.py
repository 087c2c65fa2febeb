"""Progress bars, on standard error."""

from collections.abc import Iterator

from ..support.contexts import contextmanager
from ..support.progress import Progress, bars
from .errors import stop_on_signal

__all__ = ["bars", "stoppable_bars"]


@contextmanager
def stoppable_bars(quiet: bool, unit: str, then: str = "") -> Iterator[Progress]:
    """Like `bars`, but the first SIGINT or SIGTERM stops the work at its next report, with `then` in the error."""
    with stop_on_signal(then) as check, bars(quiet, unit) as show:

        def progress(stage: str, done: int, total: int | None) -> None:
            check()
            show(stage, done, total)

        yield progress
