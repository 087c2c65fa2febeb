"""The outcome of a quantization."""

from dataclasses import dataclass
from pathlib import Path

from .choose import TradeOff
from .fidelity import Fidelity


@dataclass(frozen=True)
class QuantizeResult:
    """The outcome of a quantization.

    Attributes:
        folder: the folder of the quantized model.
        fidelity: how near it is to the float32 model, on held-out images.
        steps: the trade between fidelity and arithmetic, as far as it was measured; the last one was chosen.
        calibration: the number of images that it was calibrated with.
        failed: the number of images that could not be read.
        size: bytes of the folder's files.
        seconds: duration.
    """

    folder: Path
    fidelity: Fidelity
    steps: tuple[TradeOff, ...]
    calibration: int
    failed: int
    size: int
    seconds: float
