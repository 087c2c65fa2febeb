"""Reads the EXIF orientation of an image without decoding it."""

import io
import warnings

from PIL import Image
from PIL.ExifTags import Base

_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")  # TIFF is always decoded upright
_HEAD = 1 << 17
_MARKS = (b"Exif\0\0", b"http://ns.adobe.com/xap/")


def orientation(content: bytes | bytearray | memoryview) -> int:
    """Return the EXIF orientation of a file, from 1 (upright) to 8; 1 if it is missing or invalid."""
    head = bytes(content[:_HEAD])
    if head.startswith(b"\xff\xd8") and not any(mark in head for mark in _MARKS):
        return 1  # most images of data sets; a hundred times faster
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            warnings.simplefilter("ignore")
            found = picture.getexif().get(Base.Orientation)
    except Exception:  # given hostile bytes, Pillow raises errors of many kinds
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1
