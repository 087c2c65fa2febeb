"""The result of a quantization."""

from dataclasses import dataclass
from pathlib import Path

from .choose import TradeOff
from .fidelity import Fidelity


@dataclass(frozen=True)
class QuantizeResult:
    """The result of a quantization.

    Attributes:
        folder: the folder of the quantized model.
        fidelity: its fidelity to the float32 model on held-out images.
        steps: the measured choices of parts; the last one was chosen.
        calibration: number of images for calibration.
        failed: number of images that could not be read.
        size: size of the folder's files, in bytes.
        seconds: duration of the quantization.
    """

    folder: Path
    fidelity: Fidelity
    steps: tuple[TradeOff, ...]
    calibration: int
    failed: int
    size: int
    seconds: float
