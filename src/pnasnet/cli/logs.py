"""The library's log on standard error."""

import logging

import click

_LOGGER = logging.getLogger("pnasnet")


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def show_logs(*, quiet: bool) -> None:
    """Print the library's notes and warnings; if `quiet`, only warnings."""
    if not any(isinstance(handler, _Echo) for handler in _LOGGER.handlers):
        _LOGGER.addHandler(_Echo())
    _LOGGER.setLevel(logging.WARNING if quiet else logging.INFO)
