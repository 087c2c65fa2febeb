"""What may be chosen about an extraction beside the models."""

from dataclasses import dataclass

from ..errors import InputError, UnknownNameError

VECTORS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ExtractOptions:
    """What may be chosen about an extraction beside the models and their endpoints."""

    preset: str | None = None
    """The preprocessing; None takes the model's own."""
    exif: bool | None = None
    """Whether to apply the EXIF orientation; None does as the preset says."""
    vectors: str = "float32"
    """How numbers are written: float32, float16, or bfloat16, which is float32 rounded, at half the size on disk."""
    normalize: bool = False
    """Whether vectors are scaled to length 1."""
    whole_maps: bool = False
    """Whether an endpoint that is a map is written as such; else it is rectified and averaged over its pixels."""
    batch_size: int = 8
    """How many images the engine gets at once; more make no network faster on CPUs, and take memory."""
    decoders: int | None = None
    """How many threads decode; None takes as many as there are processors."""
    deduplicate: bool = False
    """Whether pictures that are equal byte for byte are computed once; not on clusters."""
    give_up: int = 32
    """After how many pictures in a row that cannot be reached, such as on a disk that is gone, a run ends; 0: never."""

    def __post_init__(self) -> None:
        """Check them."""
        if self.batch_size < 1 or (self.decoders is not None and self.decoders < 1):
            raise InputError(f"batch size {self.batch_size} and decoders {self.decoders} must be at least 1")
        if self.vectors not in VECTORS:
            raise UnknownNameError.of("kind of vectors", self.vectors, VECTORS)


DEFAULTS = ExtractOptions()
