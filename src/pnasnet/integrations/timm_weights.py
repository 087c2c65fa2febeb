"""Writes weights for timm's own `pnasnet5large` and `nasnetalarge`. timm itself is not needed."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..architecture.plan import resolve
from ..architecture.torch_names import to_torch_layout
from ..architecture.zoo import NETWORKS
from ..errors import InputError
from ..module import Module
from ..support.arguments import checked
from ..support.files import check_target
from ..weights import CLASSIFIER
from ..weights.native import write_tensors
from ..weights.timm import timm_names

MODELS = {"pnasnet_large": "pnasnet5large", "nasnet_large": "nasnetalarge"}
"""The networks that timm also has, and timm's names for them."""


@dataclass(frozen=True)
class TimmFile:
    """A written state dict: timm's name of the model, and the numbers of classes and tensors."""

    model: str
    classes: int
    tensors: int


@checked
def write_timm(module: Module, path: Path) -> TimmFile:
    """Write a module's variables as a safetensors file under timm's names.

    The file loads with `timm.create_model(NAME, checkpoint_path=PATH)`. Pass `num_classes=N` unless it has 1000
    classes. ImageNet's background class, which timm's models lack, is omitted.

    Raises:
        InputError: timm does not have the network, or the path does not end in .safetensors.
        OutputError: the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from pnasnet import Module
        >>> from pnasnet.integrations.timm_weights import write_timm
        >>> write_timm(Module("pnasnet_tiny"), Path("timm.safetensors"))
        Traceback (most recent call last):
            ...
        pnasnet.errors.InputError: ...
    """
    check_target(path, ".safetensors")
    network = _find(module)
    plan = module.model.plan
    arrays = module.variables
    offset = module.model.weights.label_offset if module.model.weights else 0
    tensors = {}
    for name, variable in sorted(timm_names(plan.variables(), nasnet=network == "nasnet_large").items()):
        value = arrays[variable]
        if variable.startswith(CLASSIFIER):
            value = value[..., offset:]
        tensors[name] = np.ascontiguousarray(to_torch_layout(variable, value))
    write_tensors(path, tensors, {"format": "pt"})
    return TimmFile(
        MODELS[network], (plan.spec.num_classes or 0) - (offset if plan.spec.num_classes else 0), len(tensors)
    )


def _find(module: Module) -> str:
    """Return the name of the module's network among `MODELS`. Raises `InputError`."""
    shapes = resolve(replace(module.model.spec, num_classes=None)).variables()
    for name in MODELS:
        if resolve(replace(NETWORKS[name].spec, num_classes=None)).variables() == shapes:
            return name
    raise InputError(
        f"timm has no network like {module.model.name}: only pnasnet_large and nasnet_large can be written for timm; "
        "import pnasnet.timm to use the others there"
    )
