"""JPEG to the bit as TensorFlow decodes it, by way of libjpeg-turbo.

`tf.io.decode_jpeg` uses libjpeg-turbo's fast DCT with the smooth ("fancy") chroma upsampling, and turns inks
into colours with a formula of its own (tensorflow/core/lib/jpeg/jpeg_mem.cc); both are reproduced here.
"""

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import ImageError

Pixels = NDArray[np.uint8]

# libjpeg's warnings after which every pixel is still the file's own (after any other it has made some up), and
# TurboJPEG's refusal of uncommon chroma sampling, which libjpeg below it can decode.
_HARMLESS = re.compile("extraneous bytes|JFIF revision|Adobe color transform|SOS parameters|subsampling level")

# Each scan passes over the whole picture, so that a small file of many scans could take hours. Encoders write
# about ten; libjpeg-turbo's own guard is 500.
_MAX_SCANS = 500
_MARKER = re.compile(b"\xff+[\x02-\xcf\xd8-\xfe]", re.DOTALL)  # but for those that stand within a scan
_BEGIN, _END, _SCAN = b"\xd8", b"\xd9", b"\xda"


def decode_jpeg(data: bytes, header: JpegImageFile, name: str, *, fast_dct: bool) -> Pixels:
    """Decode a JPEG file to RGB.

    Args:
        data: the whole file.
        header: the same file opened, but not loaded, by Pillow.
        name: what to call it in an error.
        fast_dct: TensorFlow's choice; otherwise the accurate DCT, Pillow's choice.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: it has too many scans.
        ValueError, OSError: it is cut short or damaged.
    """
    if data.count(b"\xff" + _SCAN) > _MAX_SCANS and _count_scans(data) > _MAX_SCANS:
        raise ImageError(f"{name}: a JPEG of more than {_MAX_SCANS} scans, made to waste time: leave it out")
    four_inks = header.mode == "CMYK"
    options = {"colorspace": "CMYK" if four_inks else "RGB", "fastdct": fast_dct, "fastupsample": False}
    pixels: Pixels
    try:
        pixels = simplejpeg.decode_jpeg(data, strict=True, **options)
    except ValueError as warning:
        if not _HARMLESS.search(str(warning)):
            raise
        header.load()  # TurboJPEG stops at the first warning; Pillow goes on, and refuses a file cut short
        try:
            pixels = simplejpeg.decode_jpeg(data, strict=False, **options)
        except ValueError:  # it still insists on a header without oddities
            return np.asarray(header.convert("RGB"))
    return _inks_to_rgb(pixels, inverted="adobe" in header.info) if four_inks else pixels


def _count_scans(data: bytes) -> int:
    """Count the scans of a JPEG file up to its end: neither those of a thumbnail in it, nor of a video behind it."""
    position = scans = 0
    while found := _MARKER.search(data, position):
        position, marker = found.end(), found[0][-1:]
        if marker == _END:
            break
        if marker != _BEGIN:  # what follows has its length before it, and may hold anything
            position += int.from_bytes(data[position : position + 2])
        scans += marker == _SCAN
    return scans


def _inks_to_rgb(inks: Pixels, *, inverted: bool) -> Pixels:
    """Turn CMYK [H, W, 4] into RGB [H, W, 3]; Adobe's files hold the inks inverted."""
    light = (inks if inverted else 255 - inks).astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)
