"""Reads lists of paths and URLs that were saved by programs, editors and spreadsheets."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError
from ..support import files

_BLOCK = 1 << 16
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def read_list(path: str, *, null: bool = False) -> Iterator[str]:
    """Yield the paths and URLs in a file, one per line. Empty lines are skipped.

    UTF-8 and UTF-16, with or without a byte order mark, and all line endings are supported. Quotes around a line, which
    spreadsheets add to names with a comma, are removed.

    Args:
        path: the file; `-` is standard input.
        null: whether entries end with a zero byte, as `find -print0` writes them; all other bytes are then literal.

    Raises:
        InputError: the file cannot be read.
    """
    hint = "pass a file with one path per line"
    with (
        files.reading(repr(path), hint),
        nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file,
    ):
        for entry in _split(_blocks(file), b"\0") if null else _lines(file, path):
            if entry:
                yield os.fsdecode(entry)


def _blocks(file: BinaryIO, head: bytes = b"") -> Iterator[bytes]:
    if head:
        yield head
    while block := file.read(_BLOCK):
        yield block


def _lines(file: BinaryIO, path: str) -> Iterator[bytes]:
    head = file.read(_BLOCK)
    blocks = _blocks(file, head.removeprefix(codecs.BOM_UTF8))
    if encoding := _UTF16.get(head[:2]):
        blocks = _as_utf8(_blocks(file, head[2:]), encoding, path)
    for part in _split(blocks, b"\n"):
        for line in part.split(b"\r"):
            quoted = len(line) > 1 and line.startswith(b'"') and line.endswith(b'"')
            yield line[1:-1].replace(b'""', b'"') if quoted else line


def _as_utf8(blocks: Iterator[bytes], encoding: str, path: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InputError(f"{path!r} is damaged UTF-16 ({error}): save it as UTF-8") from error


def _split(blocks: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *entries, rest = (rest + block).split(end)
        yield from entries
    yield rest
