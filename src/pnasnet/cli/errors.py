"""How a command ends: one line for each error, and exit codes."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

import click

from ..errors import InputError, PnasnetError, UnknownNameError
from ..support.files import check_target
from ..support.text import clean
from ..support.urls import redact_text

EXIT_FAILED = 1
"""The command failed."""
EXIT_USAGE = 2
"""The command line is wrong: an unknown name, or a value that no data makes right. Also click's exit code."""
EXIT_IMAGES_FAILED = 3
"""The command is done, but some images failed."""
EXIT_SIGNAL = 128
"""Plus the number of the signal that ended the command."""

_ARGUMENT = re.compile(r"\b(moving_averages|overwrite|weights)=(True|False|[A-Z]+)\b")
_OPTION_AND_ARGUMENT = re.compile(r"(--[a-z-]+) \([a-z_]+=[^()\s]*\)")
"""An option and the same argument in Python, such as `--overwrite (overwrite=True)`."""


class Failure(click.ClickException):
    """An error as it is printed: `error: ...`, followed by its notes."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click declares it for the class, but reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        for line in (f"error: {self.message}", *getattr(self, "__notes__", ())):
            click.echo(_clean(line), file=file, err=True)


def wants_traceback() -> bool:
    """Return whether the environment asks for Python's traceback instead of one line."""
    return bool(os.environ.get("PNASNET_TRACEBACK"))


def to_failure(error: BaseException) -> Failure:
    """Return what to print for an error that ended a command."""
    exit_code = EXIT_USAGE if isinstance(error, UnknownNameError) else EXIT_FAILED
    match error:
        case PnasnetError():
            message = for_command_line(str(error))
        case OSError(filename=name, strerror=reason) if reason:
            message = f"{os.fsdecode(name)}: {reason}" if isinstance(name, str | bytes) else reason
        case MemoryError():
            message = "not enough memory; use smaller batches or a smaller model"
        case KeyboardInterrupt():
            message, exit_code = "interrupted", EXIT_SIGNAL + signal.SIGINT
        case _:
            message = f"{type(error).__name__}: {redact_text(str(error))}"
    failure = Failure(message, exit_code)
    for note in getattr(error, "__notes__", ()):
        failure.add_note(note)
    return failure


def _clean(message: str) -> str:
    """Return a message with clean lines; the differences of weights are several."""
    return "\n".join(map(clean, message.split("\n")))


@contextmanager
def cleaned_usage() -> Iterator[None]:
    """Within the block, clean click's errors, which repeat words of the command line: no escapes, no credentials."""
    try:
        yield
    except click.ClickException as error:
        error.message = for_command_line(_clean(error.message))  # type: ignore[misc] # click declares it final
        raise


@contextmanager
def checking_usage() -> Iterator[None]:
    """Within the block, which only checks values of options, let an `InputError` end the command as wrong usage.

    An error that begins with the name of an argument then begins with its option.
    """
    try:
        yield
    except InputError as error:
        if wants_traceback():
            raise
        name, space, rest = to_failure(error).message.partition(" ")
        parameters = click.get_current_context().command.params
        options = {each.name: max(each.opts, key=len) for each in parameters if isinstance(each, click.Option)}
        raise Failure(f"{options.get(name, name)}{space}{rest}", EXIT_USAGE) from error


def check_file(path: str | None, suffix: str, inputs: Iterable[str]) -> None:
    """Check a file that is to be written, if there is one, as `check_target` does; another suffix is wrong usage."""
    if path is not None:
        with checking_usage():
            check_target(Path(path), suffix, inputs)


def for_command_line(message: str) -> str:
    """Return a message of the library without credentials in URLs, and with options instead of Python's arguments.

    `overwrite=True` becomes `--overwrite`, `weights=FILE` becomes `--weights FILE`.
    """

    def option(argument: re.Match[str]) -> str:
        name, value = argument[1].replace("_", "-"), argument[2]
        return {"True": f"--{name}", "False": f"--no-{name}"}.get(value, f"--{name} {value}")

    return redact_text(_ARGUMENT.sub(option, _OPTION_AND_ARGUMENT.sub(r"\1", message)))


@contextmanager
def stop_on_signal(then: str = "") -> Iterator[Callable[[], None]]:
    """Within the block, let the first SIGINT or SIGTERM stop the work only where it calls the function yielded here.

    That function raises `Failure`, with `then` in the message, once a signal has come.
    """
    received: list[int] = []

    def check() -> None:
        if received:
            raise Failure(f"interrupted; {then}" if then else "interrupted", EXIT_SIGNAL + received[0])

    with _on_signal(received.append):
        yield check


@contextmanager
def end_on_signal() -> Iterator[None]:
    """Within the block, let SIGINT and SIGTERM raise `Failure` at once, so that files and processes are cleaned up."""

    def end(number: int) -> None:
        raise Failure("interrupted", EXIT_SIGNAL + number)

    with _on_signal(end):
        yield


@contextmanager
def _on_signal(act: Callable[[int], None]) -> Iterator[None]:
    """Within the block, let the first SIGINT or SIGTERM call `act` with its number; the second one acts as usual."""

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        act(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        restore()


def end_as_first_process() -> None:
    """Let SIGTERM end the first process of a container, as it ends others: the kernel ignores it there by default."""
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(EXIT_SIGNAL + number))


def open_closed_streams() -> None:
    """Send standard output and error to nowhere if the caller closed them, as cron's `2>&-` does.

    Otherwise progress bars fail, and the next file to be opened gets the descriptor to which libraries log.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end


@contextmanager
def writing_results() -> Iterator[None]:
    """Flush standard output at the end of the block; raise `Failure` if that fails, as on a full disk.

    Whatever cannot be written is dropped: otherwise Python tries again when it exits, and prints a traceback.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise  # a reader that closed the pipe has seen enough
    except OSError as error:
        with suppress(OSError):  # not a file in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ended = error.__context__
        if isinstance(ended, SystemExit) and ended.code:
            raise ended from None  # the command failed before, and has printed why
        raise Failure(f"cannot write to standard output: {error.strerror}") from error
