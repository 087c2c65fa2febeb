"""How a command ends: one line for each error, and exit codes."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any

import click

from ..errors import MissingExtraError, PnasnetError

EXIT_FAILED = 1
"""The command failed."""
EXIT_IMAGES_FAILED = 3
"""The command is done, but some images failed. (2 is click's exit code for wrong usage.)"""
EXIT_SIGNAL = 128
"""Plus the number of the signal that ended the command."""


class Failure(click.ClickException):
    """An error for a person: `error: ...`, followed by the error's notes."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click declares it for the class, but reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        for line in (f"error: {self.message}", *getattr(self, "__notes__", ())):
            click.echo(line, file=file, err=True)


def to_failure(error: BaseException) -> Failure:
    """Return what to print for an error that ended a command."""
    match error:
        case PnasnetError():
            failure = Failure(str(error))
        case OSError(filename=name, strerror=reason) if reason:
            failure = Failure(f"{os.fsdecode(name)}: {reason}" if isinstance(name, str | bytes) else reason)
        case MemoryError():
            failure = Failure("not enough memory; use smaller batches or a smaller model")
        case KeyboardInterrupt():
            failure = Failure("interrupted", EXIT_SIGNAL + signal.SIGINT)
        case _:
            failure = Failure(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        failure.add_note(note)
    return failure


@contextmanager
def needing(extra: str, purpose: str) -> Iterator[None]:
    """Within the block, which imports packages of an extra, turn a missing one into `MissingExtraError`."""
    try:
        yield
    except MissingExtraError:
        raise
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "a package", extra, purpose) from error


class Stop:
    """Whether a signal asked the command to stop."""

    signal: int | None = None

    def check(self, then: str = "") -> None:
        """Raise `Failure` if so; `then` says how to resume."""
        if self.signal is not None:
            raise Failure(f"interrupted; {then}" if then else "interrupted", EXIT_SIGNAL + self.signal)


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Within the block, let the first SIGINT or SIGTERM only set `Stop.signal`; the second one acts as usual.

    Work that must not be cut in two calls `check` where it can stop.
    """
    stop = Stop()

    def ask(number: int, restore: Callable[[], None]) -> None:
        stop.signal = number
        restore()

    with _on_signal(ask):
        yield stop


@contextmanager
def end_on_signal() -> Iterator[None]:
    """Within the block, let SIGINT and SIGTERM raise `Failure` at once, so that files and processes are cleaned up."""

    def end(number: int, restore: Callable[[], None]) -> None:
        raise Failure("interrupted", EXIT_SIGNAL + number)

    with _on_signal(end):
        yield


@contextmanager
def _on_signal(act: Callable[[int, Callable[[], None]], None]) -> Iterator[None]:
    """Within the block, call `act` with the signal's number and with what restores the earlier handlers."""

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        act(number, restore)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()


def open_closed_streams() -> None:
    """Send standard output and error to nowhere if the caller closed them, as cron's `2>&-` does.

    Otherwise progress bars fail, and the next file to be opened gets the descriptor to which libraries log.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end


@contextmanager
def writing_results() -> Iterator[None]:
    """Write out standard output at the end of the block; raise `Failure` if that fails, as on a full disk.

    Whatever cannot be written is dropped: otherwise Python tries again when it exits, and prints a traceback.
    """
    ended: SystemExit | None = None
    try:
        try:
            yield
        except SystemExit as end:  # click's way to return
            ended = end
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # a reader that closed the pipe has seen enough
    except OSError as error:
        with suppress(OSError):  # not a file in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if ended is None or not ended.code:  # else the command has said so
            raise Failure(f"cannot write to standard output: {error.strerror}") from error
    if ended is not None:
        raise ended
