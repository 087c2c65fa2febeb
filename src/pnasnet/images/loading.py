"""Decodes and preprocesses an image in one call."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from .decoding import BUDGET, decode
from .presets import Preset, check_size, get_preset, transform
from .resize import Size
from .source import LIMITS, Limits, Source, name_of


@dataclass(frozen=True)
class Loaded:
    """Network input, and the size of the decoded image.

    Attributes:
        image: float32 [h, w, 3] in [0, 1].
        width: width of the decoded image in pixels, after the EXIF orientation if it is applied.
        height: height of the decoded image, likewise.

    Example:
        >>> from pnasnet.images import load
        >>> loaded = load("photos/coffee.jpg", (64, 64))
        >>> loaded.image.shape, loaded.width, loaded.height
        ((64, 64, 3), 600, 400)
    """

    image: NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True)
class Target:
    """The input that a network expects: height and width, and the preprocessing.

    Example:
        >>> from pnasnet.images import Target, get_preset
        >>> Target((331, 331), get_preset("slim")).size
        (331, 331)
    """

    size: Size
    preset: Preset


def load(
    source: Source,
    size: Size,
    preset: str | Preset = "hub",
    *,
    exif: bool | None = None,
    limits: Limits = LIMITS,
) -> Loaded:
    """Decode and preprocess one image.

    Args:
        source: a path, the bytes of a file, or a PIL image.
        size: height and width of the result.
        preset: "hub" (whole image), "slim" (central 0.875), "timm" (bicubic, 0.911), or a `Preset`.
        exif: whether to apply the EXIF orientation; None for the preset's choice.
        limits: maximum numbers of pixels and bytes.

    Raises:
        ImageError: the source is not an image, damaged, truncated, too large, or unreadable.
        InputError: `size` is not a pair of positive integers, or `source` has an unsupported type.
        UnknownNameError: there is no preset with that name.

    Example:
        >>> from pnasnet.images import load
        >>> loaded = load("photos/coffee.jpg", (64, 64), "slim", exif=True)
        >>> loaded.image.shape, loaded.width, loaded.height
        ((64, 64, 3), 600, 400)
    """
    return load_each(source, [Target(size, get_preset(preset))], exif=exif, limits=limits)[0]


def load_each(
    source: Source, targets: Sequence[Target], *, exif: bool | None = None, limits: Limits = LIMITS
) -> list[Loaded]:
    """Decode an image once, and preprocess it for several networks. Otherwise like `load`.

    Example:
        >>> from pnasnet.images import Target, get_preset, load_each
        >>> targets = [Target((331, 331), get_preset("hub")), Target((64, 64), get_preset("slim"))]
        >>> [loaded.image.shape for loaded in load_each("photos/coffee.jpg", targets)]
        [(331, 331, 3), (64, 64, 3)]
    """
    sizes = [check_size(target.size) for target in targets]  # before the costly part
    decoded: dict[tuple[bool, bool], NDArray[np.uint8]] = {}
    loaded = []
    with BUDGET.scope():
        for size, target in zip(sizes, targets, strict=True):
            preset = target.preset
            turned, fast_dct = preset.exif if exif is None else exif, preset.fast_dct
            if (turned, fast_dct) not in decoded:
                decoded[turned, fast_dct] = decode(source, exif=turned, fast_dct=fast_dct, limits=limits)
            pixels = decoded[turned, fast_dct]
            try:
                image = transform(pixels, size, preset)
            except ImageError as error:
                raise ImageError(f"{name_of(source)}: {error}") from None
            loaded.append(Loaded(image, pixels.shape[1], pixels.shape[0]))
    return loaded


def preprocess(
    source: Source,
    size: Size,
    preset: str | Preset = "hub",
    *,
    exif: bool | None = None,
    limits: Limits = LIMITS,
) -> NDArray[np.float32]:
    """Decode and preprocess one image. Returns float32 [h, w, 3] in [0, 1], `load(...).image`.

    Example:
        >>> from pnasnet.images import preprocess
        >>> image = preprocess("photos/coffee.jpg", (64, 64))
        >>> image.shape, bool(0 <= image.min() <= image.max() <= 1)
        ((64, 64, 3), True)
    """
    return load(source, size, preset, exif=exif, limits=limits).image
