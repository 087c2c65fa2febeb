"""Networks as models of Keras 3: PNASNetLarge, PNASNetMobile, NASNetLarge, NASNetMobile, and `build` for any.

Example:
    >>> import numpy as np
    >>> import pnasnet.keras
    >>> model = pnasnet.keras.build("pnasnet_tiny", include_top=False, pooling="avg")
    >>> images = np.full((2, 32, 32, 3), 255, "float32")
    >>> model.predict(pnasnet.keras.preprocess_input(images), verbose=0).shape
    (2, 960)
    >>> pnasnet.keras.PNASNetMobile(weights=None, input_shape=(96, 96, 3)).output_shape
    (None, 1000)
    >>> pnasnet.keras.NASNetMobile(weights=None, include_top=False, pooling="avg", input_shape=(96, 96, 3)).output_shape
    (None, 1056)
    >>> pnasnet.keras.NASNetLarge.__doc__ == pnasnet.keras.PNASNetLarge.__doc__.replace("pnasnet", "nasnet")
    True
"""

from .integrations.keras import NASNetLarge, NASNetMobile, PNASNetLarge, PNASNetMobile, build, preprocess_input

__all__ = ["NASNetLarge", "NASNetMobile", "PNASNetLarge", "PNASNetMobile", "build", "preprocess_input"]
