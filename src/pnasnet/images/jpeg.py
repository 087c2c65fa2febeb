"""Decodes JPEG with the same bits as TensorFlow, by libjpeg-turbo.

`tf.io.decode_jpeg` uses libjpeg-turbo's fast DCT and smooth ("fancy") chroma upsampling, and converts CMYK to RGB with
a formula of its own (tensorflow/core/lib/jpeg/jpeg_mem.cc). Both are reproduced here.
"""

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import ImageError
from .metadata import SCAN, segments

Pixels = NDArray[np.uint8]

# libjpeg's warnings that do not affect pixels (after any other, some pixels are invented), and TurboJPEG's error for
# uncommon chroma sampling, which libjpeg itself decodes.
_HARMLESS = re.compile("extraneous bytes|JFIF revision|Adobe color transform|SOS parameters|subsampling level")

# Each scan processes the whole image, so a small file with many scans could take hours. Encoders write about ten;
# the limit is that of libjpeg-turbo's own tools.
_MAX_SCANS = 500


def decode_jpeg(data: bytes, header: JpegImageFile, name: str, *, fast_dct: bool) -> Pixels:
    """Decode a JPEG file to RGB.

    Args:
        data: the whole file.
        header: the same file, opened but not loaded by Pillow.
        name: name of the image in errors.
        fast_dct: whether to use the fast DCT, as TensorFlow does, or the accurate one, as Pillow does.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: the file has too many scans.
        ValueError, OSError: the file is truncated or damaged.
    """
    if data.count(bytes([0xFF, SCAN])) > _MAX_SCANS and sum(found[0] == SCAN for found in segments(data)) > _MAX_SCANS:
        raise ImageError(f"{name}: a JPEG with more than {_MAX_SCANS} scans, which would take too long: leave it out")
    is_cmyk = header.mode == "CMYK"
    options = {"colorspace": "CMYK" if is_cmyk else "RGB", "fastdct": fast_dct, "fastupsample": False}
    pixels: Pixels
    try:
        pixels = simplejpeg.decode_jpeg(data, strict=True, **options)
    except ValueError as warning:
        if not _HARMLESS.search(str(warning)):
            raise
        header.load()  # TurboJPEG stops at the first warning; Pillow continues, and refuses a truncated file
        try:
            pixels = simplejpeg.decode_jpeg(data, strict=False, **options)
        except ValueError:  # uncommon chroma sampling
            pixels = np.asarray(header if is_cmyk else header.convert("RGB"))
            pixels = 255 - pixels if is_cmyk else pixels  # Pillow inverts every CMYK file
    return _cmyk_to_rgb(pixels, inverted="adobe" in header.info) if is_cmyk else pixels


def _cmyk_to_rgb(inks: Pixels, *, inverted: bool) -> Pixels:
    """Convert CMYK [H, W, 4] to RGB [H, W, 3]; files with Adobe's marker store inverted values."""
    light = (inks if inverted else 255 - inks).astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)
