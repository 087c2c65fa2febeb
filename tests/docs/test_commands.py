"""Commands in README.md, docs and helps: they name commands and options that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pnasnet.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Dockerfile", *sorted(ROOT.glob("docs/**/*.md"))]
SOURCES = sorted(path for path in ROOT.glob("src/pnasnet/**/*") if path.suffix in (".py", ".toml"))


def command_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a page or a docstring that run `pnasnet`, up to a pipe or a comment."""
    for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if found := re.match(r"(?:\s*(?:\$ |Command: +|- run: |.*\| )?)(pnasnet [a-z].*)", line):
            yield re.split(r" \| | +#| > | \|\|", found[1])[0]


LINES = sorted({line for path in (*PAGES, *SOURCES) for line in command_lines(path) if "…" not in line})


@pytest.mark.parametrize("line", LINES)
def test_command_line_can_be_parsed(line: str) -> None:
    group: click.Command = main
    words = shlex.split(line)[1:]
    context = click.Context(group, info_name="pnasnet")
    while isinstance(group, click.Group):
        found = group.get_command(context, words.pop(0))
        assert found is not None, f"no such command: {line}"
        group, context = found, click.Context(found, context, info_name=found.name)
    _, arguments, _ = group.make_parser(context).parse_args(words)
    assert not arguments, f"{arguments} are too many: {line}"


def test_there_are_command_lines() -> None:
    assert len(LINES) > 60
