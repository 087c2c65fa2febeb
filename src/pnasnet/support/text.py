r"""Text for people: counts, shares and times; and the one place that cleans text from outside.

Whatever comes from weights, tables, archives, servers or file names passes through `clean` before a terminal, a log or
a page sees it.
"""

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_NAME_WIDTH, _VALUE_WIDTH = 60, 60
"""Characters shown of a long name and of a long value."""

NOTHING = "\N{EN DASH}"
"""Printed for a share of zero items."""

# Control characters, line separators, halves of surrogate pairs (file names that are not UTF-8), and the characters
# that reorder or hide text: bidirectional controls, zero-width characters, and the tag block.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

_SURROGATE = re.compile("[\ud800-\udfff]")
_BYTE_IN_REPR = re.compile(r"\\udc([89a-f][0-9a-f])")
"""The escape that `repr` writes for a byte that is not UTF-8."""


def clean(text: str) -> str:
    r"""Return `text` on one line, with escapes such as `\x1b` or `\u202e` for unprintable characters.

    Bytes of file names that are not UTF-8 become `\xNN`, also if `repr` has written them as halves of surrogate pairs.
    """
    return _UNPRINTABLE.sub(_escaped, _BYTE_IN_REPR.sub(r"\\x\1", text))


def shown(value: Any) -> str:
    """Return a value as errors show it: short, and on one line."""
    return clean(" ".join(reprlib.repr(value).split()))


def utf8(text: str) -> str:
    r"""Return a file name or other text as tables and JSON store it, with bytes that are not UTF-8 as `\xNN`."""
    return _SURROGATE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(found[0])[1:-1]


def some_of(names: Sequence[str]) -> str:
    """Return the first three names, quoted: `'cat', 'dog', 'fox', ...`."""
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def differences(old: Any, new: Mapping[str, Any]) -> list[str]:
    """Return how values from JSON differ, as `name: old → new`. Names in nested mappings are joined by dots."""
    before, after = (dict(_flat(each)) if isinstance(each, Mapping) else {} for each in (old, new))
    return [
        f"{name}: {_short(before.get(name))} → {_short(after.get(name))}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def _short(value: object) -> str:
    text = "none" if value is None else clean(str(value))
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"


def first_of(phrases: Sequence[str], most: int = 3) -> str:
    """Return the first of several phrases, and how many more there are: `a; b; c; and 2 more`."""
    more = [f"and {len(phrases) - most} more"] if len(phrases) > most else []
    return "; ".join([*phrases[:most], *more])


def tail(name: str) -> str:
    """Return a path; of a long one only the end, which is more specific than the beginning."""
    return name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"


def tight(text: str) -> str:
    """Return text with no-break spaces before each `%` and around each `of`, so that figures stay on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" of ", "\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}")


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share in [0, 1] such as 0.9321 as `93.21 %`; None as a dash."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def counted(count: int, thing: str, things: str = "") -> str:
    """Return `1 image` or `1,200 images`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def duration(seconds: float) -> str:
    """Return seconds as `12.3 s`, `3 min 05 s` or `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def gigabytes(count: int) -> str:
    """Return bytes as `2.1 GB` or `23 GB`."""
    return f"{count / 1e9:.2g} GB" if count < 10e9 else f"{count / 1e9:.0f} GB"


def kilobytes(count: int) -> str:
    """Return the size of a file as `950 bytes`, `2.1 kB`, `384 kB` or `5.2 MB`."""
    if count < 1000:
        return counted(count, "byte")
    value, unit = (count / 1e3, "kB") if count < 999_500 else (count / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"
