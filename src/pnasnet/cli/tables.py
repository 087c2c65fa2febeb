"""Prints tables and lines that fit the terminal.

In a terminal, columns are left out until a table fits, and `note_left_out` names them. Words are never cut. In a pipe
or a file, everything is printed, unless `COLUMNS` is set.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..support.text import clean
from .printing import say

_GAP = "  "
_LABEL = re.compile(r" *(?:\S+(?: \S+)*? {2,})?")
"""The label at the start of a line, up to the text below which broken lines continue."""


def last_folders(path: str, room: int) -> str:
    """Return the end of a path that fits, such as `…/2024/photo.jpg`; the name of the file is always whole."""
    from wcwidth import width

    parts = path.split("/")
    ends = ["…/" + "/".join(parts[first:]) for first in range(1, len(parts))]
    return next((end for end in (path, *ends) if width(end) <= room), (path, *ends)[-1])


def first_words(text: str, room: int) -> str:
    """Return the beginning of a text that fits, such as `Egyptian …`; the first word is always whole."""
    from wcwidth import width

    words = text.split(" ")
    starts = [" ".join(words[:count]) + " …" for count in range(1, len(words))]
    return next((start for start in (text, *reversed(starts)) if width(start) <= room), (*starts, text)[0])


@dataclass(frozen=True)
class TableColumn:
    """A column of a table."""

    title: str
    right: bool = False
    """Whether cells are aligned to the right, as numbers are."""
    rank: int = 0
    """Columns with the highest rank are left out first; those with 0 stay."""
    shorten: Callable[[str, int], str] | None = None
    """Shortens a cell to a number of terminal columns, if no more columns can be left out."""


def terminal_width() -> int | None:
    """Return the width to fill, in terminal columns: `COLUMNS`, or the terminal's; None in a pipe or a file."""
    from shutil import get_terminal_size

    if not (sys.stdout.isatty() or "COLUMNS" in os.environ):
        return None
    return get_terminal_size((0, 0)).columns or None  # 0 without a terminal, if COLUMNS is no number


def print_table(
    columns: Sequence[TableColumn], rows: Iterable[Sequence[str]], *, titles: bool = True, indent: str = ""
) -> list[str]:
    """Print rows, their cells cleaned, below the titles of the columns.

    Returns:
        The titles of the columns that the terminal has no room for, for `note_left_out`.
    """
    heading = [[column.title for column in columns]] if titles else []
    lines = [*heading, *([clean(cell) for cell in cells] for cells in rows)]
    limit = terminal_width()
    room = None if limit is None else limit - len(indent)
    shown = _fitting(columns, [_width(cells[place] for cells in lines) for place in range(len(columns))], room)
    table = [[cells[place] for cells in lines] for place in shown]
    for place, cells in enumerate(table):
        excess = 0 if room is None else _total(map(_width, table)) - room
        if excess > 0 and (shorten := columns[shown[place]].shorten):
            table[place] = [shorten(cell, _width(cells) - excess) for cell in cells]
    aligned = [_aligned(columns[place], cells) for place, cells in zip(shown, table, strict=True)]
    for line in zip(*aligned, strict=True):
        say((indent + _GAP.join(line)).rstrip())
    return [column.title for place, column in enumerate(columns) if place not in shown]


def note_left_out(titles: Iterable[str]) -> None:
    """Name on standard error the columns that were left out, if any, each once."""
    if names := ", ".join(dict.fromkeys(titles)):
        say(f"left out to fit {terminal_width()} columns: {names}; --json shows them", err=True)


def _fitting(columns: Sequence[TableColumn], widths: Sequence[int], room: int | None) -> list[int]:
    """Return the indices of the columns to show."""
    shown = list(range(len(widths)))
    while room is not None and _total(widths[place] for place in shown) > room:
        place = max(reversed(shown), key=lambda place: columns[place].rank)
        if not columns[place].rank:
            break
        shown.remove(place)
    return shown


def _total(widths: Iterable[int]) -> int:
    return sum(width + len(_GAP) for width in widths) - len(_GAP)


def _width(cells: Iterable[str]) -> int:
    """Return the number of terminal columns of the widest cell."""
    from wcwidth import width

    return max(map(width, cells), default=0)


def _aligned(column: TableColumn, cells: Sequence[str]) -> list[str]:
    widest = _width(cells)
    spaces = [" " * (widest - _width([cell])) for cell in cells]
    return [space + cell if column.right else cell + space for cell, space in zip(cells, spaces, strict=True)]


def print_line(line: str) -> None:
    """Print a line; in a terminal that is too narrow, break it between words, below the text after its label."""
    from wcwidth import width, wrap

    line, limit = clean(line), terminal_width()
    if limit is None or width(line) <= limit:
        say(line)
        return
    label = found[0] if (found := _LABEL.match(line)) else ""  # always found
    indent = " " * width(label) if width(label) < limit // 2 else _GAP
    room = max(limit - len(indent), 1)
    first, *others = wrap(line[len(label) :], room, break_long_words=False, break_on_hyphens=False)
    say(label + first)
    for other in others:
        say(indent + other)
