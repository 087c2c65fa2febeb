"""How a command ends: one line for each error, and exit codes that mean something."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

import click

from ..errors import MissingExtraError, PnasnetError

EXIT_FAILED = 1
"""The command could not do what was asked."""
EXIT_IMAGES_FAILED = 3
"""The command did its work, but some images failed. (2 is click's: a command that cannot be understood.)"""
EXIT_SIGNAL = 128
"""To which the number of the signal is added that ended the command."""


class Failure(click.ClickException):
    """An error for a person: `error: ...`, and the error's notes below."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        """Take the line to show and the exit code."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click declares it for the class, but reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        for line in (f"error: {self.message}", *getattr(self, "__notes__", ())):
            click.echo(line, file=file, err=True)


def to_failure(error: BaseException) -> Failure:
    """Return what to show for an error that ended a command."""
    match error:
        case PnasnetError():
            failure = Failure(str(error))
        case OSError(filename=name, strerror=reason) if reason:
            failure = Failure(f"{os.fsdecode(name)}: {reason}" if isinstance(name, str | bytes) else reason)
        case MemoryError():
            failure = Failure("not enough memory; take smaller batches, or a smaller model")
        case KeyboardInterrupt():
            failure = Failure("interrupted", EXIT_SIGNAL + signal.SIGINT)
        case _:
            failure = Failure(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        failure.add_note(note)
    return failure


@contextmanager
def needing(extra: str, purpose: str) -> Iterator[None]:
    """Within the block, which imports what the extra brings, turn its absence into `MissingExtraError`."""
    try:
        yield
    except MissingExtraError:
        raise
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "a package", extra, purpose) from error


class Stop:
    """Whether a signal asked to stop."""

    signal: int | None = None

    def check(self, then: str = "") -> None:
        """Raise `Failure` if so; `then` says what happens next."""
        if self.signal is not None:
            raise Failure(f"interrupted; {then}" if then else "interrupted", EXIT_SIGNAL + self.signal)


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Within the block, let the first SIGINT or SIGTERM only ask to stop; the second one acts as it always did.

    Work that must not be cut in two calls `check` where it can end.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        restore()


@contextmanager
def end_on_signal() -> Iterator[None]:
    """Within the block, let SIGINT and SIGTERM raise `Failure` at once, so that files and processes are cleaned up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Failure("interrupted", EXIT_SIGNAL + number)

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
