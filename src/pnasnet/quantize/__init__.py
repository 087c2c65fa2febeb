"""Models in int8: calibrated with images, measured against float32, written as a folder that opens like weights.

images ─► a sample ─┬─► ranges ─► equalized weights ─► int8 graph ─► parts in floating point until near enough
                    └─► fidelity on held-out images ─► the folder, or an error
"""

from .choose import TradeOff
from .fidelity import Fidelity, compare
from .options import QuantizeOptions
from .result import QuantizeResult
from .run import quantize

__all__ = ["Fidelity", "QuantizeOptions", "QuantizeResult", "TradeOff", "compare", "quantize"]
