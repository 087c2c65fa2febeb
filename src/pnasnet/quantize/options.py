"""The options of a quantization."""

from dataclasses import dataclass

from ..errors import UnknownNameError
from ..images import get_preset
from ..support.typed import check_range, convert_fields

FEWEST_IMAGES = 32
"""Least number of readable images for calibration, and for measurement."""


@dataclass(frozen=True)
class QuantizeOptions:
    """The options of a quantization.

    Raises `InputError` for values of another type or out of range, and `UnknownNameError` for an unknown preset or
    precision.
    """

    images: int = 300
    """Number of images for calibration."""
    held_out: int = 300
    """Number of other images, to measure the fidelity."""
    least_cosine: float = 0.995
    """Required mean cosine between the features of the quantized and the float32 model, on held-out images."""
    floating: str = "bfloat16"
    """Precision of the layers that stay in floating point: `float32` or `bfloat16`."""
    preset: str | None = None
    """Preprocessing; None for the model's own."""
    batch_size: int = 16
    """Images per call of the network."""
    threads: int | None = None
    """Number of CPU threads; None for one per core."""

    def __post_init__(self) -> None:
        convert_fields(self, images=FEWEST_IMAGES, held_out=FEWEST_IMAGES, batch_size=1, threads=1)
        check_range("least_cosine", self.least_cosine, 0, 1)
        if self.preset is not None:
            get_preset(self.preset)
        if self.floating not in ("float32", "bfloat16"):
            raise UnknownNameError.of("precision", self.floating, ("float32", "bfloat16"))


DEFAULTS = QuantizeOptions()
