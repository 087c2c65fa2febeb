"""Quantizes models to int8, calibrated with images and measured against float32; the folder opens like weights::

    images ─► sample ─┬─► ranges ─► equalized weights ─► int8 graph ─► parts in floating point, until near enough
                      └─► fidelity on held-out images ─► the folder, or an error

Example:
    >>> import numpy as np
    >>> from pnasnet import Module
    >>> from pnasnet.quantize import Fidelity, QuantizeOptions, QuantizeResult, TradeOff, compare, quantize
    >>> options = QuantizeOptions(images=32, held_out=32, least_cosine=0.5)  # far more images and fidelity in practice
    >>> result = quantize("pnasnet_tiny", ["animals", "photos"], "int8", options)
    >>> isinstance(result, QuantizeResult), result.calibration, result.fidelity.images
    (True, 32, 32)
    >>> result.steps[-1] == TradeOff(floating=(), cosine=result.steps[-1].cosine, int8_share=1.0)
    True
    >>> paths = ["photos/chelsea.jpg", "photos/coffee.jpg"]
    >>> vectors, exact = (Module(name).embed(paths) for name in ("int8", "pnasnet_tiny"))
    >>> compare(vectors, exact, None, None).mean_cosine > 0.9
    True
    >>> Fidelity(300, 0.997, 0.983, 0.961, same_top1=0.98).to_dict()["low_cosine"]
    0.983
"""

from .choose import TradeOff
from .fidelity import Fidelity, compare
from .options import QuantizeOptions
from .result import QuantizeResult
from .run import quantize

__all__ = ["Fidelity", "QuantizeOptions", "QuantizeResult", "TradeOff", "compare", "quantize"]
