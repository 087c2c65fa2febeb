"""The options of an extraction besides the models."""

from dataclasses import dataclass

from ..errors import InputError, UnknownNameError

VECTORS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ExtractOptions:
    """The options of an extraction besides the models and their endpoints.

    Raises `InputError` or `UnknownNameError` for values that do not exist.
    """

    preset: str | None = None
    """The preprocessing; None for the model's own."""
    exif: bool | None = None
    """Whether to apply the EXIF orientation; None for what the preset does."""
    vectors: str = "float32"
    """Number format: float32, float16, or bfloat16 (float32 rounded to bfloat16, which halves the size on disk)."""
    normalize: bool = False
    """Whether vectors are scaled to length 1."""
    whole_maps: bool = False
    """Whether to write feature maps whole, instead of averaging them over positions after a ReLU."""
    batch_size: int = 8
    """Images for each run of the engine; on CPUs more are not faster, and use more memory."""
    decoders: int | None = None
    """Number of decoding threads; None for one per processor."""
    deduplicate: bool = False
    """Whether pictures with equal bytes are computed once; not available on clusters."""
    give_up: int = 32
    """The run ends after so many unreachable pictures or shards in sequence; 0: they are recorded as failed instead."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.decoders is not None and self.decoders < 1):
            raise InputError(f"batch size {self.batch_size} and decoders {self.decoders} must be at least 1")
        if self.vectors not in VECTORS:
            raise UnknownNameError.of("kind of vectors", self.vectors, VECTORS)


DEFAULTS = ExtractOptions()
