"""Sources of images (paths, bytes, PIL images), limits on their size, and suffixes of image files."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import ImageError, InputError
from ..support.arguments import checked
from .formats import FORMATS

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image

EXTENSIONS = frozenset(suffix for known in FORMATS for suffix in known.suffixes)

_MAX_NAME = 1000
"""Characters of a path in an error."""


@dataclass(frozen=True)
class Limits:
    """Limits on the size of an image, checked before any pixel is decoded.

    The default number of pixels is the limit of TensorFlow's JPEG decoder (height x width x 3 below 2^29) and of
    Pillow's protection against decompression bombs. Such an image has 537 MB of pixels, and decoding it takes up to
    three times as much memory.

    Attributes:
        pixels: maximum of width x height.
        bytes: maximum size of the file.

    Example:
        >>> from pnasnet.images import Limits, decode
        >>> decode("photos/coffee.jpg", limits=Limits(pixels=10_000))
        Traceback (most recent call last):
            ...
        pnasnet.errors.ImageError: photos/coffee.jpg: ...
        >>> Limits().check_pixels(4000, 3000, "photo.jpg")
        >>> Limits(bytes=1000).check_bytes(2000, "photo.jpg")
        Traceback (most recent call last):
            ...
        pnasnet.errors.ImageError: photo.jpg: ...
    """

    pixels: int = 2**29 // 3
    bytes: int = 256 * 2**20

    def check_bytes(self, count: int, name: str) -> None:
        """Raise `ImageError` if a file of `count` bytes is empty or too large."""
        if count == 0:
            raise ImageError(f"{name}: empty (0 bytes): copy or download it again, or leave it out")
        if count > self.bytes:
            raise ImageError(
                f"{name}: more than the limit of {self.bytes:,} bytes: save it smaller, or raise Limits.bytes"
            )

    def check_pixels(self, width: int, height: int, name: str) -> None:
        """Raise `ImageError` if an image of `width` x `height` has no pixels or too many."""
        if width < 1 or height < 1:
            raise ImageError(f"{name}: an image of {width} x {height} pixels: leave it out")
        if width * height > self.pixels:
            raise ImageError(
                f"{name}: {width} x {height} pixels, more than the limit of {self.pixels:,}: "
                "save it smaller, or raise Limits.pixels"
            )


LIMITS = Limits()


@checked
def is_image_path(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an image by its suffix.

    Example:
        >>> from pnasnet.images import is_image_path
        >>> is_image_path("photos/coffee.jpg"), is_image_path("features.parquet")
        (True, False)
    """
    return Path(path).suffix.lower() in EXTENSIONS


def name_of(source: Source) -> str:
    """Return the name of `source` in errors, which is printable and on one line.

    Raises:
        InputError: `source` has an unsupported type.
    """
    match source:
        case bytes() | bytearray() | memoryview():
            return "image bytes"
        case Image.Image():
            path = os.fsdecode(getattr(source, "filename", "")) or "PIL image"
        case str() | os.PathLike():
            path = os.fsdecode(source)
        case _:
            raise InputError(
                f"an image must be a path, bytes or a PIL image, not {type(source).__name__}: pass decoded pixels to "
                "pnasnet.images.transform"
            )
    shown = path if path and path.isprintable() else ascii(path)
    return shown if len(shown) <= _MAX_NAME else f"{shown[:_MAX_NAME]}…"


@checked
def read_file(path: str | os.PathLike[str], limits: Limits = LIMITS) -> bytes:
    """Return the bytes of the file at `path`.

    Raises:
        ImageError: the file is missing, unreadable, empty, too large, or not a regular file.

    Example:
        >>> from pnasnet.images import read_file
        >>> len(read_file("photos/coffee.jpg"))
        79975
    """
    name = name_of(path)
    try:
        status = Path(path).stat()  # before opening, because opening a named pipe waits for a writer
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: a folder, not an image: pass the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name}: not a regular file: copy the image into one")
        limits.check_bytes(status.st_size, name)
        with Path(path).open("rb") as file:
            data = file.read(limits.bytes + 1)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file: check the path") from None
    except PermissionError:
        raise ImageError(f"{name}: permission denied: make the file readable, or leave it out") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read ({reason}): check the path and the disk") from error
    limits.check_bytes(len(data), name)  # the file may have changed
    return data
