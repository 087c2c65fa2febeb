"""From a name to a checked model, and `Module`, which runs or trains it.

Each name is loaded when it is first used: `pnasnet models` needs neither an engine nor a decoder.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .image_inputs import get_expected_image_size, get_num_image_channels
    from .module import Module

_HOMES = {"Module": "module", "get_expected_image_size": "image_inputs", "get_num_image_channels": "image_inputs"}

__all__ = ["Module", "get_expected_image_size", "get_num_image_channels"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
