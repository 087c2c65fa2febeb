"""The output of commands: lines that are safe for a terminal, and JSON."""

import json
from typing import Any

import click

from ..support.text import clean, utf8


def say(line: object = "", *, err: bool = False) -> None:
    """Print one line, with unprintable characters escaped."""
    click.echo(clean(str(line)), err=err)


def to_json(value: Any, indent: int | None = None) -> str:
    r"""Return JSON in ASCII; file names that are not UTF-8 have `\xNN`, as in tables."""
    return json.dumps(_utf8(value), indent=indent, allow_nan=False)


def _utf8(value: Any) -> Any:
    match value:
        case str():
            return utf8(value)
        case dict():
            return {_utf8(name): _utf8(each) for name, each in value.items()}
        case list() | tuple():
            return [_utf8(each) for each in value]
        case _:
            return value
