"""How a command ends: one line for each error, and exit codes."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

import click

from ..errors import InputError, PnasnetError, UnknownNameError
from ..support.contexts import contextmanager
from ..support.files import check_target
from ..support.text import clean
from ..support.urls import redact_text

EXIT_FAILED = 1
"""The command failed."""
EXIT_USAGE = 2
"""The command line is wrong: an unknown name, or an impossible value. It is also click's exit code."""
EXIT_IMAGES_FAILED = 3
"""The command finished, but some images failed."""
EXIT_SIGNAL = 128
"""Exit code of a command that a signal ended, less the signal's number."""

_ARGUMENT = re.compile(r"\b(moving_averages|overwrite|weights)=(True|False|[A-Z]+)\b")
_OPTION_AND_ARGUMENT = re.compile(r"(--[a-z-]+) \([a-z_]+=[^()\s]*\)")
"""An option followed by the same argument in Python, such as `--overwrite (overwrite=True)`."""


class Failure(click.ClickException):
    """An error, printed as `error: ...` and its notes."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click declares it for the class, but reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to standard error."""
        for line in (f"error: {self.message}", *getattr(self, "__notes__", ())):
            click.echo(_clean(line), file=file, err=True)


def wants_traceback() -> bool:
    """Return whether `PNASNET_TRACEBACK` asks for Python's traceback instead of one line."""
    return bool(os.environ.get("PNASNET_TRACEBACK"))


def to_failure(error: BaseException) -> Failure:
    """Return the failure to print for an error that ended a command."""
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
    """Clean each line of a message; some errors about weights have several."""
    return "\n".join(map(clean, message.split("\n")))


@contextmanager
def cleaned_usage() -> Iterator[None]:
    """Within the block, clean click's errors, which quote the command line: no control characters, no credentials."""
    try:
        yield
    except click.ClickException as error:
        error.message = for_command_line(_clean(error.message))  # type: ignore[misc] # click declares it final
        raise


@contextmanager
def checking_usage() -> Iterator[None]:
    """Within the block, which only checks values of options, report an `InputError` as wrong usage.

    If the error begins with the name of a parameter, that is replaced by the option.
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
    """Check an output file, if there is one, with `check_target`. A wrong suffix is wrong usage."""
    if path is not None:
        with checking_usage():
            check_target(Path(path), suffix, inputs)


def for_command_line(message: str) -> str:
    """Return an error message without credentials, and with options instead of Python's arguments.

    `overwrite=True` becomes `--overwrite`, and `weights=FILE` becomes `--weights FILE`.
    """

    def option(argument: re.Match[str]) -> str:
        name, value = argument[1].replace("_", "-"), argument[2]
        return {"True": f"--{name}", "False": f"--no-{name}"}.get(value, f"--{name} {value}")

    return redact_text(_ARGUMENT.sub(option, _OPTION_AND_ARGUMENT.sub(r"\1", message)))


@contextmanager
def stop_on_signal(then: str = "") -> Iterator[Callable[[], None]]:
    """Within the block, delay the effect of the first SIGINT or SIGTERM until the next call of the yielded function.

    After a signal, that function raises `Failure`, with `then` in its message.
    """
    received: list[int] = []

    def check() -> None:
        if received:
            raise Failure(f"interrupted; {then}" if then else "interrupted", EXIT_SIGNAL + received[0])

    with _on_signal(received.append):
        yield check


@contextmanager
def end_on_signal() -> Iterator[None]:
    """Within the block, let SIGINT and SIGTERM raise `Failure` at once, so that `finally` blocks clean up."""

    def end(number: int) -> None:
        raise Failure("interrupted", EXIT_SIGNAL + number)

    with _on_signal(end):
        yield


@contextmanager
def _on_signal(act: Callable[[int], None]) -> Iterator[None]:
    """Within the block, let the first SIGINT or SIGTERM call `act` with its number. A second one acts as usual."""

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
    """If this is process 1 of a container, let SIGTERM end it: for that process, the kernel ignores it by default."""
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(EXIT_SIGNAL + number))


def open_closed_streams() -> None:
    """Redirect standard output and error to the null device if the caller closed them, as `2>&-` does.

    Otherwise, progress bars fail, and the next opened file gets the descriptor to which libraries log.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 # open until the end


@contextmanager
def writing_results() -> Iterator[None]:
    """Flush standard output at the end of the block. Raises `Failure` if it cannot be written, as on a full disk.

    Unwritten output is dropped: otherwise, Python would try again at exit, and print a traceback.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise  # the reader closed the pipe and wants no more
    except OSError as error:
        with suppress(OSError):  # in tests, standard output is no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ended = error.__context__
        if isinstance(ended, SystemExit) and ended.code:
            raise ended from None  # the command has failed, and has printed its error
        raise Failure(f"cannot write to standard output: {error.strerror}") from error
