"""From a name to a checked model, and `Module`, which runs or trains it."""

from .image_inputs import get_expected_image_size, get_num_image_channels
from .module import Module

__all__ = ["Module", "get_expected_image_size", "get_num_image_channels"]
