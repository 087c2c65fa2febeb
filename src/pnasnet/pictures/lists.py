"""Reads lists of paths and URLs that were saved by programs, editors and spreadsheets."""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import InputError
from ..support import files
from ..support.arguments import checked

_BLOCK = 1 << 16


@checked
def read_list(path: str, *, null: bool = False) -> Iterator[str]:
    """Yield the paths and URLs in a file, one per line. Empty lines are skipped.

    The encoding is UTF-8, or UTF-16 with a byte order mark or an ASCII character at the beginning; line endings may be
    any. Quotes around a line, which spreadsheets add to names with a comma, are removed.

    Args:
        path: the file; `-` is standard input.
        null: whether entries end with a zero byte, as `find -print0` writes them; all other bytes are then literal.

    Raises:
        InputError: the file cannot be read.
    """
    with (
        files.reading(repr(path), "pass a file with one path per line"),
        nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file,
    ):
        yield from filter(None, _entries(file) if null else _lines(file, path))


def _entries(file: BinaryIO) -> Iterator[str]:
    rest = b""
    while block := file.read(_BLOCK):
        *entries, rest = (rest + block).split(b"\0")
        yield from map(os.fsdecode, entries)
    yield os.fsdecode(rest)


def _lines(file: BinaryIO, path: str) -> Iterator[str]:
    buffered = io.BufferedReader(cast("io.RawIOBase", file))
    encoding = _utf16_of(buffered.peek(2)[:2])
    text = io.TextIOWrapper(buffered, *(encoding, "strict") if encoding else ("utf-8-sig", "surrogateescape"))
    try:
        for line in text:
            line = line.removesuffix("\n")
            quoted = len(line) > 1 and line.startswith('"') and line.endswith('"')
            yield line[1:-1].replace('""', '"') if quoted else line
    except UnicodeDecodeError as error:
        raise InputError(f"{path!r} is damaged UTF-16 ({error}): save it as UTF-8") from error
    finally:
        text.detach()
        buffered.detach()


def _utf16_of(start: bytes) -> str | None:
    """Return the UTF-16 encoding of a text by its first two bytes; None for UTF-8, which has no zero bytes in paths."""
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(start) == 2 and 0 in start:
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return None
