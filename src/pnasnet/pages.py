"""What the reports share: self-contained HTML pages, and how figures and names are printed on them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .atomic import replacing
from .errors import OutputError

if TYPE_CHECKING:
    from jinja2 import Environment

NOTHING = "\N{EN DASH}"
"""Stands for the share of no pictures."""

# Control characters, which HTML and YAML forbid and which would break a line; and halves of surrogate pairs, which
# stand for the bytes of file names that are not UTF-8, and which UTF-8 cannot write.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def environment() -> "Environment":
    """Return Jinja2 with the package's templates, which escapes all that is not marked as safe, and our filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Autoescape: names of classes and files are anybody's.
    made = Environment(
        loader=PackageLoader("pnasnet", "data"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"clean": clean, "percent": percent, "duration": duration, "tight": tight}
    made.globals |= {"counted": counted, "nothing": NOTHING}
    return made


def tight(text: str) -> str:
    """Return figures with spaces where no line breaks."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" of ", "\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}")


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


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises `OutputError`."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
