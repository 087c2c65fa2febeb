"""Presets: the published preprocessings as named values."""

import operator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnknownNameError
from ..support.arguments import checked
from .resize import Size, central_crop, resize_bilinear, resize_crop_bicubic


@dataclass(frozen=True)
class Preset:
    """A preprocessing of images.

    Attributes:
        name: name of the preset.
        resize: `bilinear` is TensorFlow 1's, without antialiasing; `bicubic` is Pillow's, with antialiasing.
        crop: fraction of each side that is kept around the centre; bilinear crops first, bicubic resizes first.
        fast_dct: whether JPEG is decoded with TensorFlow's fast DCT or with Pillow's accurate one.
        exif: whether the EXIF orientation is applied.

    Example:
        >>> from pnasnet.images import Preset, preprocess
        >>> mine = Preset("mine", resize="bilinear", crop=0.9, fast_dct=True)
        >>> preprocess("photos/coffee.jpg", (64, 64), mine).shape
        (64, 64, 3)
        >>> mine.turned(exif=True).name
        'mine+exif'
    """

    name: str
    resize: Literal["bilinear", "bicubic"]
    crop: float
    fast_dct: bool
    exif: bool = False

    def turned(self, exif: bool) -> "Preset":
        """Return the preset with or without EXIF orientation: `hub` becomes `hub+exif`, or the reverse."""
        return replace(self, name=self.name.removesuffix(_TURNED) + _TURNED * exif, exif=exif)


_TURNED = "+exif"
"""Suffix of presets that apply the EXIF orientation."""

PRESETS = {
    preset.name: preset
    for preset in (
        # TF-Hub's retrain.py: decode_jpeg, [0, 1], resize_bilinear of the whole image.
        Preset("hub", resize="bilinear", crop=1.0, fast_dct=True),
        # TF-Slim's inception_preprocessing.preprocess_for_eval; its x * 2 - 1 is in the network.
        Preset("slim", resize="bilinear", crop=0.875, fast_dct=True),
        # timm's configuration of pnasnet5large.tf_in1k; its mean and deviation of 0.5 are in the network.
        Preset("timm", resize="bicubic", crop=0.911, fast_dct=False),
    )
}


def get_preset(preset: str | Preset) -> Preset:
    """Return the preset with a name; a `Preset` is returned unchanged.

    `hub+exif` is `hub` with the EXIF orientation applied, and likewise for every preset.

    Raises:
        UnknownNameError: there is no preset with that name.

    Example:
        >>> from pnasnet.images import get_preset
        >>> get_preset("slim").crop, get_preset("hub+exif").exif
        (0.875, True)
    """
    if isinstance(preset, Preset):
        return preset
    base = str(preset).removesuffix(_TURNED)
    if base not in PRESETS:
        raise UnknownNameError.of("preset", str(preset), PRESETS)
    return PRESETS[base] if base == preset else PRESETS[base].turned(True)


@checked
def transform(pixels: NDArray[np.uint8], size: Size, preset: str | Preset = "hub") -> NDArray[np.float32]:
    """Turn decoded pixels into network input.

    Args:
        pixels: uint8 [H, W, 3].
        size: height and width of the result.
        preset: a name in `PRESETS`, or a `Preset`.

    Returns:
        float32 [height, width, 3] in [0, 1].

    Raises:
        InputError: `pixels` or `size` has another type or shape.
        ImageError: the image is too elongated for a preset that keeps the aspect ratio.
        UnknownNameError: there is no preset with that name.

    Example:
        >>> from pnasnet.images import decode, transform
        >>> image = transform(decode("photos/coffee.jpg"), (64, 64), "hub")
        >>> image.shape, image.dtype
        ((64, 64, 3), dtype('float32'))
    """
    chosen = get_preset(preset)
    size = check_size(size)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(f"pixels must be uint8 [H, W, 3], not {pixels.dtype} {list(pixels.shape)}")
    if chosen.resize == "bicubic":
        return resize_crop_bicubic(pixels, size, chosen.crop).astype(np.float32) / np.float32(255)
    return resize_bilinear(central_crop(pixels, chosen.crop), size, scale=1 / 255)


def check_size(size: Size) -> Size:
    """Return `size` as two plain integers. Raises `InputError` unless it is a pair of positive integers."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InputError(f"size must be (height, width), two positive integers, not {size!r}")
    return height, width
