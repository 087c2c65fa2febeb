"""The library's log on standard error."""

import logging

import click

from ..support.text import clean
from .errors import for_command_line

_LOGGER = logging.getLogger("pnasnet")


class _Echo(logging.Handler):
    """Prints each line once, however often it is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.printed = set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        line = clean(for_command_line(self.format(record)))
        if line not in self.printed:
            self.printed.add(line)
            click.echo(line, err=True)


def show_logs(*, quiet: bool) -> None:
    """Print the library's log from level INFO up; only warnings if `quiet`."""
    echo = next((handler for handler in _LOGGER.handlers if isinstance(handler, _Echo)), None)
    if echo is None:
        echo = _Echo()
        _LOGGER.addHandler(echo)
        # Once a library calls logging.warning(), the root logger has a handler, which would print our lines again.
        _LOGGER.propagate = bool(logging.getLogger().handlers)
    echo.printed.clear()
    _LOGGER.setLevel(logging.WARNING if quiet else logging.INFO)
