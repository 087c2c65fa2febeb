"""The directive `command-help`: what `pnasnet COMMAND --help` prints, for every command, below a heading of its own."""

from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pnasnet.cli.app import main


def helps(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the help of a command, and of the commands below it."""
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100, max_content_width=100)
    yield context.command_path, command.get_help(context)
    for below in sorted(command.list_commands(context)) if isinstance(command, click.Group) else ():
        child = command.get_command(context, below)
        if child and not child.hidden:
            yield from helps(child, context, below)


class CommandHelp(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        found: list[nodes.Node] = []
        for path, text in helps(main, None, "pnasnet"):
            section = nodes.section(ids=[nodes.make_id(path)])
            section += nodes.title(text=path)
            section += nodes.literal_block(text, text, language="text")
            found.append(section)
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
