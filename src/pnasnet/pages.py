"""HTML pages: whole files with everything in them, which ask nothing of a network.

The templates are in `data/`; `page.css` is what they share. Whatever is filled into them is escaped.
"""

import base64
import io
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .atomic import replacing
from .errors import ImageError, InputError, OutputError

if TYPE_CHECKING:
    from .images import Source

NAME = 60
"""Characters of a long name that are shown."""

# Control characters, which HTML and YAML forbid and which would break a line; and halves of surrogate pairs, which
# stand for the bytes of file names that are not UTF-8, and which UTF-8 cannot write.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def render(
    template: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> str:
    """Return a page: the template of that name in `data/`, filled in.

    Templates have the filters `clean` and `tail` and the function `counted` of this module beside Jinja's own and
    `filters`.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    # Autoescape: names of classes and files are anybody's.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: files("pnasnet").joinpath("data", name).read_text("utf-8")),
    )
    environment.filters |= {"clean": clean, "tail": tail, **filters}
    environment.globals |= {"counted": counted}
    return environment.get_template(template).render(values)


def thumbnail(source: "Source", side: int, *, exif: bool = True, quality: int = 80) -> bytes | None:
    """Return a picture as a small JPEG; None where it cannot be opened or decoded.

    Args:
        source: a path, the bytes of a file, or a PIL image.
        side: pixels of the longer side, at most.
        exif: whether it is turned as its EXIF orientation says.
        quality: of the JPEG.
    """
    from PIL import Image

    from .images import decode

    try:
        pixels = decode(source, exif=exif)
    except (ImageError, InputError):
        return None
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def data_url(jpeg: bytes | None) -> str | None:
    """Return a JPEG as an address that holds it."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def clean(text: str) -> str:
    r"""Return `text` on one line, with escapes such as \x00 in place of what cannot be printed."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def tail(name: str) -> str:
    """Return the end of a long path, which tells more than its beginning."""
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"


def counted(count: int, thing: str, things: str = "") -> str:
    """Return `1 picture` or `1,200 pictures`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises `OutputError`."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
