"""HTML pages: whole files with everything in them, which ask nothing of a network; and how figures are printed.

The templates are in `data/`; `page.css` is what they share. Whatever is filled into them is escaped.
"""

import base64
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .atomic import replacing
from .errors import ImageError, InputError, OutputError

if TYPE_CHECKING:
    from jinja2 import Environment

    from .images import Source

NAME = 60
"""Characters of a long name that are shown."""

NOTHING = "\N{EN DASH}"
"""Stands for the share of no pictures."""

# Control characters, which HTML and YAML forbid and which would break a line; and halves of surrogate pairs, which
# stand for the bytes of file names that are not UTF-8, and which UTF-8 cannot write.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def render(
    template: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> str:
    """Return a page: the template of that name in `data/`, filled in.

    Templates have this module's `clean`, `tail`, `percent`, `duration` and `tight` as filters, and its `counted`,
    beside Jinja's own and `filters`.
    """
    made = environment()
    made.filters |= filters
    return made.get_template(template).render(values)


def environment() -> "Environment":
    """Return Jinja2 with the package's templates, which escapes all that is not marked as safe, and our filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Autoescape: names of classes and files are anybody's.
    made = Environment(
        loader=PackageLoader("pnasnet", "data"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"clean": clean, "percent": percent, "duration": duration, "tight": tight, "tail": tail}
    made.globals |= {"counted": counted, "nothing": NOTHING}
    return made


def thumbnail(source: "Source", side: int, *, exif: bool = True, quality: int = 80) -> bytes | None:
    """Return a picture as a small JPEG, as `small_jpeg` does; None where it cannot be opened or decoded."""
    try:
        return small_jpeg(source, side, exif=exif, quality=quality)
    except (ImageError, InputError):
        return None


def small_jpeg(source: "Source", side: int, *, exif: bool = True, quality: int = 80) -> bytes:
    """Return a picture as a small JPEG.

    Args:
        source: a path, the bytes of a file, or a PIL image.
        side: pixels of the longer side, at most.
        exif: whether it is turned as its EXIF orientation says.
        quality: of the JPEG.

    Raises:
        ImageError: it cannot be opened or decoded.
    """
    from PIL import Image

    from .images import decode

    pixels = decode(source, exif=exif)
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def data_url(jpeg: bytes | None) -> str | None:
    """Return a JPEG as an address that holds it."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def tight(text: str) -> str:
    """Return figures with spaces where no line breaks."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" of ", "\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}")


def clean(text: str) -> str:
    r"""Return `text` on one line, with escapes such as \x00 in place of what cannot be printed."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def tail(name: str) -> str:
    """Return the end of a long path, which tells more than its beginning."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


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
