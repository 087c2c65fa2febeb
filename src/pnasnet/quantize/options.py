"""The options of a quantization."""

from dataclasses import dataclass

from ..errors import InputError, UnknownNameError

FEWEST_IMAGES = 32
"""Readable images without which ranges are accidental."""


@dataclass(frozen=True)
class QuantizeOptions:
    """The options of a quantization.

    Raises `InputError` for numbers that make no sense, and `UnknownNameError` for an unknown precision.
    """

    images: int = 300
    """Images to calibrate with."""
    held_out: int = 300
    """Images to measure the fidelity with; others than those."""
    least_cosine: float = 0.995
    """The mean cosine between the features of the quantized and the float32 model, on held-out images, to reach."""
    floating: str = "bfloat16"
    """Precision of the layers that stay in floating point: `float32` or `bfloat16`."""
    preset: str | None = None
    """The preprocessing; None for the model's own."""
    batch_size: int = 16
    """Images for each run of the network."""
    threads: int | None = None
    """Number of CPU threads; None for one per core."""

    def __post_init__(self) -> None:
        for name in ("images", "held_out"):
            if (count := getattr(self, name)) < FEWEST_IMAGES:
                raise InputError(f"{name} must be at least {FEWEST_IMAGES}, not {count}")
        if not 0 <= self.least_cosine <= 1:
            raise InputError(f"least_cosine must be between 0 and 1, not {self.least_cosine}")
        if self.floating not in ("float32", "bfloat16"):
            raise UnknownNameError.of("precision", self.floating, ("float32", "bfloat16"))
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {self.batch_size}")


DEFAULTS = QuantizeOptions()
