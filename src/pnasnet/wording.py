"""Figures and names as reports print them."""

import re

NOTHING = "\N{EN DASH}"
"""Stands for the share of no pictures."""

# Control characters, which HTML and YAML forbid and which would break a line; and halves of surrogate pairs, which
# stand for the bytes of file names that are not UTF-8, and which UTF-8 cannot write.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def clean(text: str) -> str:
    r"""Return `text` on one line, with escapes such as \x00 in place of what cannot be printed."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share such as 0.9321 as `93.21 %`."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def counted(count: int, thing: str, things: str = "") -> str:
    """Return `1 picture` or `1,200 pictures`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def duration(seconds: float) -> str:
    """Return a time as `12.3 s`, `3 min 05 s` or `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
