"""HTML pages: whole files with everything in them, which ask nothing of a network; and how figures are printed.

The templates are in `reports/templates/` and share `page.css`. Jinja escapes everything that is filled into them.
"""

import base64
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, InputError
from ..support.text import NOTHING, clean, counted, duration, percent, tail, tight

if TYPE_CHECKING:
    from jinja2 import Environment

    from ..images import Source


def render(
    template: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> str:
    """Return a page: the template of that name in `templates/`, filled in.

    Templates have `clean`, `tail`, `percent`, `duration` and `tight` of `support.text` as filters and `counted` as a
    function, beside Jinja's own and `filters`.
    """
    made = environment()
    made.filters |= filters
    return made.get_template(template).render(values)


def environment() -> "Environment":
    """Return Jinja2 with the package's templates, which escapes all that is not marked as safe, and our filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Autoescape: names of classes and files are anybody's.
    made = Environment(
        loader=PackageLoader("pnasnet.reports", "templates"),
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

    from ..images import decode

    pixels = decode(source, exif=exif)
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def data_url(jpeg: bytes | None) -> str | None:
    """Return a JPEG as an address that holds it."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
