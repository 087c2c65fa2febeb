"""Turns images into network input: decoding, TensorFlow's resizing, and the three published preprocessings.

    source (path, bytes, PIL image) ── decode ──► uint8 [H, W, 3] ── transform ──► float32 [h, w, 3] in [0, 1]

`preprocess` does both; `load` also returns the size of the image. docs/images.md describes the choices.

Example:
    >>> from pnasnet.images import EXTENSIONS, FORMATS, LIMITS, PRESETS
    >>> list(PRESETS)
    ['hub', 'slim', 'timm']
    >>> ".jpg" in EXTENSIONS, FORMATS[0].name, LIMITS.pixels
    (True, 'JPEG', 178956970)
"""

from .decoding import decode
from .formats import FORMATS, Format, format_of
from .loading import Loaded, Target, load, load_each, preprocess
from .presets import PRESETS, Preset, get_preset, transform
from .resize import central_crop, resize_bilinear, resize_crop_bicubic
from .source import EXTENSIONS, LIMITS, Limits, Source, is_image_path, read_file

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "LIMITS",
    "PRESETS",
    "Format",
    "Limits",
    "Loaded",
    "Preset",
    "Source",
    "Target",
    "central_crop",
    "decode",
    "format_of",
    "get_preset",
    "is_image_path",
    "load",
    "load_each",
    "preprocess",
    "read_file",
    "resize_bilinear",
    "resize_crop_bicubic",
    "transform",
]
