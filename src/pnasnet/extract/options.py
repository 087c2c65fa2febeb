"""Options of an extraction, apart from the models."""

from dataclasses import dataclass

from ..errors import UnknownNameError
from ..images import get_preset
from ..support.typed import convert_fields

VECTORS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ExtractOptions:
    """Options of an extraction, apart from the models and their endpoints.

    Raises `InputError` for values of another type or out of range, and `UnknownNameError` for an unknown preset or
    number format.

    Example:
        >>> from pnasnet.extract import ExtractOptions
        >>> ExtractOptions(preset="slim", vectors="float16", normalize=True).batch_size
        8
    """

    preset: str | None = None
    """Preprocessing; None for the model's own."""
    exif: bool | None = None
    """Whether to apply the EXIF orientation; None for the preset's choice."""
    vectors: str = "float32"
    """Number format: float32, float16, or bfloat16 (float32 rounded to bfloat16, which halves the size on disk)."""
    normalize: bool = False
    """Whether vectors are scaled to norm 1."""
    whole_maps: bool = False
    """Whether feature maps are written whole, instead of averaged over positions after a ReLU."""
    batch_size: int = 8
    """Images per run of the engine. On CPUs, larger batches are not faster, and use more memory."""
    decoders: int | None = None
    """Number of decoding threads; None for one per processor."""
    deduplicate: bool = False
    """Whether images with equal bytes are computed once. Not available on clusters."""
    give_up: int = 32
    """Number of consecutive unreachable images or shards after which the run ends; with 0, they count as failed."""

    def __post_init__(self) -> None:
        convert_fields(self, batch_size=1, decoders=1, give_up=0)
        if self.preset is not None:
            get_preset(self.preset)
        if self.vectors not in VECTORS:
            raise UnknownNameError.of("kind of vectors", self.vectors, VECTORS)


DEFAULTS = ExtractOptions()
