"""What the library logs, on standard error."""

import logging

import click

_LOGGER = logging.getLogger("pnasnet")


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


def show_logs(*, quiet: bool) -> None:
    """Print what the library says about its choices; when `quiet` only its warnings."""
    if not any(isinstance(handler, _Echo) for handler in _LOGGER.handlers):
        _LOGGER.addHandler(_Echo())
    _LOGGER.setLevel(logging.WARNING if quiet else logging.INFO)
