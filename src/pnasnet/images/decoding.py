"""Encoded pictures of the known formats to RGB pixels, or one clear `ImageError`."""

import ctypes
import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
from . import formats
from .budget import PixelBudget
from .jpeg import decode_jpeg
from .metadata import plain_jpeg, plain_png
from .source import LIMITS, Limits, Source, name_of, read_file

Pixels = NDArray[np.uint8]

BUDGET = PixelBudget(LIMITS.pixels)

# Pillow's classes are called directly: `Image.open` would try some forty formats more, and warn of large pictures by a
# limit that is not ours.
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

# EXIF orientation -> whether rows and columns are swapped first, then the step along the rows and the columns.
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
    """Decode a picture to RGB, as TensorFlow does unless told otherwise.

    Alpha is dropped, 16-bit samples keep their high byte, grey becomes three equal channels, and of several
    frames or pages the first is taken.

    Args:
        source: a path, the bytes of a file, or a PIL image; for bytes no file is touched.
        exif: turn the picture upright as its EXIF orientation says (TIFF is always upright).
        fast_dct: decode JPEG with the fast DCT, to the bit like TensorFlow; otherwise accurately, like Pillow.
        limits: the most pixels and bytes that are taken.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: no image, damaged, cut short, too large, or not to be read.
        InputError: `source` is of another type.
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


def _open(data: bytes, name: str) -> tuple[ImageFile.ImageFile, bytes]:
    """Read the header only; return the file with it, without metadata that might be damaged."""
    found = formats.format_of(data[:32])
    if found is None:
        known = ", ".join(known.name for known in formats.FORMATS)
        raise ImageError(f"{name}: not an image of a known format ({known}): convert it, or leave it out")
    if found is formats.JPEG:
        data = plain_jpeg(data)
    elif found is formats.PNG:
        data = plain_png(data)
    try:
        return _reader(found)(io.BytesIO(data)), data
    except MissingExtraError as error:  # one picture of many, perhaps
        raise ImageError(f"{name}: {error}") from error


_PACKAGES = {"heic": "pillow-heif", "jxl": "pillow-jxl-plugin"}


def _reader(found: formats.Format) -> type[ImageFile.ImageFile]:
    if found in _READERS:
        return _READERS[found]
    extra, module = ("heic", "pillow_heif") if found is formats.HEIC else ("jxl", "pillow_jxl.JpegXLImagePlugin")
    try:
        library = importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError.of(_PACKAGES[extra], extra, f"reading {found.name}") from error
    reader: type[ImageFile.ImageFile]
    reader = library.HeifImageFile if found is formats.HEIC else library.JXLImageFile
    return reader


def _to_rgb(picture: Image.Image) -> Pixels:
    picture.load()
    if picture.mode.startswith("I;16"):
        return np.repeat(_high_bits(picture)[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):  # Pillow would clip them at 255
        raise ValueError("its 32-bit samples have no known range; save it with 8 or 16 bits")
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))  # which copies, even RGB


def _high_bits(picture: Image.Image) -> Pixels:
    """Return the high eight bits of grey samples; a TIFF says how many bits they have, and whether 0 is white."""
    bits, inverted = 16, False
    if isinstance(picture, TiffImageFile):
        bits = int(picture.tag_v2.get(BITSPERSAMPLE, (16,))[0])
        inverted = picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    high = (np.asarray(picture) >> (bits - 8)).astype(np.uint8)
    return 255 - high if inverted else high


def _silence_libtiff() -> None:
    """Keep libtiff, inside Pillow, from writing to standard error by itself; its errors are raised by Pillow."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_libtiff()


def _upright(pixels: Pixels, picture: Image.Image) -> Pixels:
    orientation = picture.getexif().get(ExifTag.Orientation)
    if orientation not in _ORIENTATIONS:
        return pixels
    swapped, row_step, column_step = _ORIENTATIONS[orientation]
    pixels = pixels.swapaxes(0, 1) if swapped else pixels
    return np.ascontiguousarray(pixels[::row_step, ::column_step])


@contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one `ImageError` about `name`."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{name}: too large for the memory left: save it smaller, or lower Limits") from None
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
    """Keep Pillow's warnings to itself: a picture is either good or an error.

    Python's warning filters belong to the whole process, so the first thread to enter sets them and the last
    to leave restores them. Other modules' warnings pass.
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
