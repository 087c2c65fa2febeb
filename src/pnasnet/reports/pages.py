"""Renders self-contained HTML pages, which load nothing from the network.

The templates are in `reports/templates/` and share `page.css`. Jinja escapes all values.
"""

import base64
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..support.text import NOTHING, clean, counted, duration, percent, tail, tight
from .notebook import Page

if TYPE_CHECKING:
    from jinja2 import Environment

    from ..images import Source


def render(
    template: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] = MappingProxyType({})
) -> Page:
    """Render a template of `reports/templates/`.

    Args:
        template: file name of the template.
        values: its variables.
        filters: additional filters.
    """
    made = environment()
    made.filters |= filters
    return Page(made.get_template(template).render(values))


def environment() -> "Environment":
    """Return a Jinja environment with the package's templates, which escapes all values.

    It has the filters `clean`, `tail`, `percent`, `duration` and `tight` of `support.text`, and the function `counted`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Autoescape, because names of classes and files are not trusted.
    made = Environment(
        loader=PackageLoader("pnasnet.reports", "templates"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"clean": clean, "percent": percent, "duration": duration, "tight": tight, "tail": tail}
    made.globals |= {"counted": counted, "nothing": NOTHING}
    return made


def small_jpeg(source: "Source", side: int, *, exif: bool = True, quality: int = 80) -> bytes:
    """Return an image as a small JPEG.

    Args:
        source: a path, the bytes of a file, or a PIL image.
        side: maximum length of the longer side in pixels.
        exif: whether to apply the EXIF orientation.
        quality: quality of the JPEG.

    Raises:
        ImageError: the image cannot be opened or decoded.
    """
    from PIL import Image

    from ..images import decode

    picture = Image.fromarray(decode(source, exif=exif))
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def data_url(jpeg: bytes | None) -> str | None:
    """Return a JPEG as a `data:` URL; None for None."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
