"""Networks as models of Keras 3: PNASNetLarge, PNASNetMobile, NASNetLarge, NASNetMobile, and `build` for any."""

from .integrations.keras import NASNetLarge, NASNetMobile, PNASNetLarge, PNASNetMobile, build, preprocess_input

__all__ = ["NASNetLarge", "NASNetMobile", "PNASNetLarge", "PNASNetMobile", "build", "preprocess_input"]
