"""Sections of options in `--help`, and groups of options that a command receives as one value.

    @command(short_help="Compute feature vectors.")
    @click.argument("sources", nargs=-1)
    @section("Output", click.option("-o", "--output"), click.option("--overwrite", is_flag=True))
    @section("Images", pass_as("options", "pnasnet.extract:ExtractOptions", click.option("--preset")))
    def embed(sources, output, overwrite, options): ...

Options outside of sections are listed first, under "Options", with `--help`. This is our own code, because
click-option-group or cloup would be a dependency of every installation.
"""

from collections.abc import Callable, Iterator
from functools import partial, wraps
from inspect import signature
from pkgutil import resolve_name
from typing import Any

import click
from click.core import ParameterSource

from .errors import checking_usage

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def section(title: str, *options: Decorator) -> Decorator:
    """Declare options under a title; each is a `click.option(...)` or a decorator that declares several."""

    def declare(command: Command) -> Command:
        before = len(getattr(command, "__click_params__", ()))
        command = _declared(options, command)
        for parameter in command.__click_params__[before:]:  # type: ignore[attr-defined] # click.option adds it
            parameter.section = title
        return command

    return declare


def pass_as(name: str, make: str | Callable[..., Any], *options: Decorator) -> Decorator:
    """Declare options whose values the command receives as one argument.

    Args:
        name: the argument of the command.
        make: a class or function whose parameters have the names of the options; or its import path, such as
            `pnasnet.extract:ExtractOptions`, to import it only when the command runs. Options that are omitted and have
            no default are not passed, so that defaults are declared once, in the library. Its `InputError` is reported
            as wrong usage.
        options: as for `section`.
    """

    def declare(command: Command) -> Command:
        @wraps(command)
        def wrapped(**arguments: Any) -> None:
            build = resolve_name(make) if isinstance(make, str) else make
            values = {key: arguments.pop(key) for key in signature(build).parameters if key in arguments}
            given = {key: value for key, value in values.items() if value is not None}
            with checking_usage():
                made = build(**given)
            command(**{name: made}, **arguments)

        return _declared(options, wrapped)

    return declare


def _declared(options: tuple[Decorator, ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def given_options(*sections: str) -> Iterator[str]:
    """Yield the names of the options on the command line, of these sections if any are named."""
    context = click.get_current_context()
    for parameter in context.command.params:
        is_given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        is_wanted = not sections or getattr(parameter, "section", "") in sections
        if is_given and is_wanted and isinstance(parameter, click.Option):
            yield parameter.opts[0]


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
