"""Decodes images of all supported formats to RGB."""

import ctypes
import importlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, _imaging
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as ExifTag
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..errors import ImageError, MissingExtraError
from ..support.contexts import contextmanager
from ..support.other_files import FIRST, other_file
from . import formats
from .budget import PixelBudget
from .jpeg import decode_jpeg
from .metadata import plain_jpeg, plain_png
from .source import LIMITS, Limits, Source, name_of, read_file

Pixels = NDArray[np.uint8]

BUDGET = PixelBudget(LIMITS.pixels)

# Pillow's classes are used directly, because `Image.open` tries some forty other formats and has its own limit of size.
_READERS: dict[formats.Format, type[ImageFile.ImageFile]] = {
    formats.JPEG: JpegImageFile,
    formats.PNG: PngImageFile,
    formats.WEBP: WebPImageFile,
    formats.GIF: GifImageFile,
    formats.BMP: BmpImageFile,
    formats.TIFF: TiffImageFile,
    formats.AVIF: AvifImageFile,
    formats.JPEG_2000: Jpeg2KImageFile,
}
_PLUGINS = {  # extra, package, module, class
    formats.HEIC: ("heic", "pillow-heif", "pillow_heif", "HeifImageFile"),
    formats.JPEG_XL: ("jxl", "pillow-jxl-plugin", "pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}

# EXIF orientation -> whether rows and columns are swapped first, then the steps along rows and columns.
_ORIENTATIONS = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


def decode(source: Source, *, exif: bool = False, fast_dct: bool = True, limits: Limits = LIMITS) -> Pixels:
    """Decode an image to RGB, by default as TensorFlow does.

    Alpha is dropped, 16-bit samples keep their high byte, grey becomes three equal channels, and only the first frame
    or page is decoded.

    Args:
        source: a path, the bytes of a file, or a PIL image.
        exif: whether to apply the EXIF orientation (always applied to TIFF).
        fast_dct: whether to decode JPEG with the fast DCT, bit-exact with TensorFlow, or the accurate one, as Pillow.
        limits: maximum numbers of pixels and bytes.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: the source is not an image, damaged, truncated, too large, or unreadable.
        InputError: `source` has an unsupported type.

    Example:
        >>> from pnasnet.images import decode
        >>> pixels = decode("photos/coffee.jpg")
        >>> pixels.shape, pixels.dtype
        ((400, 600, 3), dtype('uint8'))
    """
    name = name_of(source)
    with _image_errors(name), _quiet(), BUDGET.scope():
        picture: Image.Image
        if isinstance(source, Image.Image):
            limits.check_pixels(source.width, source.height, name)
            picture, pixels = source, _to_rgb(source)
        else:
            picture, data = _open(_read(source, name, limits), name)
            limits.check_pixels(picture.width, picture.height, name)
            BUDGET.take(picture.width * picture.height)
            if isinstance(picture, JpegImageFile):
                pixels = decode_jpeg(data, picture, name, fast_dct=fast_dct)
            else:
                pixels = _to_rgb(picture)
        return _upright(pixels, picture) if exif else pixels


def _read(source: Source, name: str, limits: Limits) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        limits.check_bytes(memoryview(source).nbytes, name)
        return bytes(source)
    assert not isinstance(source, Image.Image)
    return read_file(source, limits)


def _not_an_image(head: bytes) -> str:
    if found := other_file(head):
        return f"{found.name}, not an image: {found.advice}"
    known = ", ".join(known.name for known in formats.FORMATS)
    return f"not an image of a known format ({known}): convert it, or leave it out"


def _open(data: bytes, name: str) -> tuple[ImageFile.ImageFile, bytes]:
    """Return the image with only its header read, and the file without metadata, which may be damaged."""
    found = formats.format_of(data[:32])
    if found is None:
        raise ImageError(f"{name}: {_not_an_image(data[:FIRST])}")
    if found is formats.JPEG:
        data = plain_jpeg(data)
    elif found is formats.PNG:
        data = plain_png(data)
    try:
        return _reader(found)(io.BytesIO(data)), data
    except MissingExtraError as error:  # only this image fails
        raise ImageError(f"{name}: {error}") from error


def _reader(found: formats.Format) -> type[ImageFile.ImageFile]:
    if found in _READERS:
        return _READERS[found]
    extra, package, module, name = _PLUGINS[found]
    try:
        reader: type[ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise MissingExtraError.of(package, extra, f"reading {found.name}") from error
    return reader


def _to_rgb(picture: Image.Image) -> Pixels:
    picture.load()
    if picture.mode.startswith("I;16"):
        return np.repeat(_high_bits(picture)[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):  # Pillow would clip them at 255
        raise ValueError("the range of its 32-bit samples is unknown; save it with 8 or 16 bits")
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))  # convert copies even RGB


def _high_bits(picture: Image.Image) -> Pixels:
    """Return the eight high bits of grey samples. A TIFF states their number of bits, and whether 0 is white."""
    bits, inverted = 16, False
    if isinstance(picture, TiffImageFile):
        bits = int(picture.tag_v2.get(BITSPERSAMPLE, (16,))[0])
        inverted = picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    high = (np.asarray(picture) >> (bits - 8)).astype(np.uint8)
    return 255 - high if inverted else high


def _silence_libtiff() -> None:
    """Prevent libtiff, inside Pillow, from writing to standard error; Pillow raises its errors anyway."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_libtiff()
# Pillow logs some errors before it raises them; without a handler, Python prints them on standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def _upright(pixels: Pixels, picture: Image.Image) -> Pixels:
    orientation = picture.getexif().get(ExifTag.Orientation)
    if orientation not in _ORIENTATIONS:
        return pixels
    swapped, row_step, column_step = _ORIENTATIONS[orientation]
    pixels = pixels.swapaxes(0, 1) if swapped else pixels
    return np.ascontiguousarray(pixels[::row_step, ::column_step])


@contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Turn any error of a decoder into an `ImageError` that names the image."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: too large for the free memory: save it smaller, or lower Limits") from None
    except Exception as error:  # given hostile bytes, decoders raise errors of every kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"{name}: damaged, cut short or of an unsupported kind ({reason}): copy it again, or convert it"
        ) from error


_quiet_lock = threading.Lock()
_quiet_depth = 0
_saved_filters = warnings.catch_warnings()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Pillow's warnings, but not those of other modules.

    Warning filters belong to the whole process, so the first thread that enters sets them, and the last thread that
    leaves restores them.
    """
    global _quiet_depth, _saved_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _saved_filters = warnings.catch_warnings()
            _saved_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _saved_filters.__exit__(None, None, None)
