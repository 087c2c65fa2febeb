"""Options in titled sections of `--help`.

    @command(short_help="Compute feature vectors.")
    @click.argument("sources", nargs=-1)
    @section("Output", click.option("-o", "--output"), click.option("--overwrite", is_flag=True))
    @section("Model", model_options)
    def embed(...): ...

Options outside every section are listed first, under "Options", with `--help`. Thirty lines of our own, because
click-option-group and cloup would each be a dependency of every installation.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def section(title: str, *options: Decorator) -> Decorator:
    """Declare options under a title; each is a `click.option(...)` or a decorator that declares several."""

    def declare(command: Callable[..., Any]) -> Callable[..., Any]:
        before = len(getattr(command, "__click_params__", ()))
        for option in reversed(options):
            command = option(command)
        for parameter in command.__click_params__[before:]:  # type: ignore[attr-defined] # click.option adds it
            parameter.section = title
        return command

    return declare


class Sectioned(click.Command):
    """A command whose help lists its options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, in the order of declaration."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            # An argument is in the usage line, and described in the text.
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


command = partial(click.command, cls=Sectioned)
"""`click.command` for a command with sections."""
