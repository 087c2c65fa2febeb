"""PNASNet-5 and NASNet-A image features, equal to TF-Slim's, without TensorFlow.

`import pnasnet` is cheap: each name below is loaded when it is first used.

Example:
    >>> import pnasnet
    >>> module = pnasnet.Module("pnasnet_small")
    >>> module.embed(["photos/chelsea.jpg", "photos/coffee.jpg"]).shape
    (2, 960)
    >>> pnasnet.__version__.count(".")
    2
    >>> pnasnet.images.preprocess("photos/coffee.jpg", module.image_size).shape
    (64, 64, 3)
    >>> len(pnasnet.PNASNET5.blocks), len(pnasnet.NASNET_A_NORMAL.blocks), pnasnet.NASNET_A_REDUCTION.concat
    (5, 5, (3, 4, 5, 6))
"""

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import PnasnetError

if TYPE_CHECKING:
    from . import images
    from .architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
    from .architecture.plan import Plan, resolve
    from .architecture.spec import NetworkSpec
    from .module import Module, get_expected_image_size, get_num_image_channels
    from .module.catalogue import list_models
    from .weights import open_weights, write_weights

_HOMES = {
    "CellSpec": "architecture.cells",
    "Module": "module",
    "NASNET_A_NORMAL": "architecture.cells",
    "NASNET_A_REDUCTION": "architecture.cells",
    "NetworkSpec": "architecture.spec",
    "PNASNET5": "architecture.cells",
    "Plan": "architecture.plan",
    "get_expected_image_size": "module",
    "get_num_image_channels": "module",
    "list_models": "module.catalogue",
    "open_weights": "weights",
    "resolve": "architecture.plan",
    "write_weights": "weights",
}

__all__ = [
    "NASNET_A_NORMAL",
    "NASNET_A_REDUCTION",
    "PNASNET5",
    "CellSpec",
    "Module",
    "NetworkSpec",
    "Plan",
    "PnasnetError",
    "__version__",
    "get_expected_image_size",
    "get_num_image_channels",
    "images",
    "list_models",
    "open_weights",
    "resolve",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "images":
        return import_module(".images", __name__)
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
