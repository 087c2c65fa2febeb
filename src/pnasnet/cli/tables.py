"""Tables and lines of results, as wide as the terminal.

In a terminal, a table leaves out columns until it fits, and says so; nothing is cut inside a word. In a pipe or a file,
all of it is printed. If `COLUMNS` is set, it is the width of both.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..support.text import clean
from .printing import say

_GAP = "  "
_LABEL = re.compile(r" *(?:\S+(?: \S+)*? {2,})?")
"""What a line begins with, up to the text that continues below itself."""


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
class Column:
    """A column of a table."""

    title: str = ""
    right: bool = False
    """Whether cells are aligned to the right, as numbers are."""
    rank: int = 0
    """Columns with the highest rank are left out first; those with 0 stay."""
    shorten: Callable[[str, int], str] | None = None
    """Makes a cell fit a number of terminal columns, when no other column can be left out."""


def terminal_width() -> int | None:
    """Return the number of terminal columns to fill; None without a limit, as in a pipe."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    if not sys.stdout.isatty():
        return None
    from shutil import get_terminal_size

    return get_terminal_size().columns


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: str = "", hint: str = "") -> None:
    """Print rows, their cells cleaned, below the titles of the columns, if there are titles.

    Args:
        hint: where else the columns are that a narrow terminal has no room for, such as `--json`.
    """
    from wcwidth import width

    titles = [[column.title for column in columns]] if any(column.title for column in columns) else []
    lines = [*titles, *([clean(cell) for cell in cells] for cells in rows)]
    widths = [max(map(width, cells), default=0) for cells in zip(*lines, strict=True)] or [0] * len(columns)
    limit = terminal_width()
    shown = _fitting(columns, widths, None if limit is None else limit - len(indent))
    if limit is not None:
        room = limit - len(indent) - sum(widths[place] + len(_GAP) for place in shown)
        for place in shown:
            if room < 0 and (shorten := columns[place].shorten):
                least = widths[place] + len(_GAP) + room
                lines = [[*cells[:place], shorten(cells[place], least), *cells[place + 1 :]] for cells in lines]
                widths[place] = max(width(cells[place]) for cells in lines)
    for cells in lines:
        aligned = (_aligned(columns[place], cells[place], widths[place]) for place in shown)
        say((indent + _GAP.join(aligned)).rstrip())
    if left_out := [column.title for place, column in enumerate(columns) if place not in shown and column.title]:
        elsewhere = f"; {hint} shows them" if hint else ""
        say(f"left out to fit {limit} columns: {', '.join(left_out)}{elsewhere}", err=True)


def _fitting(columns: Sequence[Column], widths: list[int], limit: int | None) -> list[int]:
    """Return the places of the columns to show."""
    shown = list(range(len(columns)))
    while limit is not None and sum(widths[place] + len(_GAP) for place in shown) - len(_GAP) > limit:
        place = max(reversed(shown), key=lambda place: columns[place].rank)
        if not columns[place].rank:
            break
        shown.remove(place)
    return shown


def _aligned(column: Column, text: str, room: int) -> str:
    from wcwidth import width

    spaces = " " * (room - width(text))
    return spaces + text if column.right else text + spaces


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
