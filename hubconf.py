"""The networks for `torch.hub.load`: images [batch, 3, height, width] in [-1, 1] to logits or features.

    >>> model = torch.hub.load(REPOSITORY, "pnasnet_large", pretrained=True, num_classes=0)

Every function accepts `pretrained`, `weights`, `num_classes`, `image_size`, `features_only`, `out_indices`,
`drop_rate` and `drop_path_rate`; see `pnasnet.integrations.image_network.create`. Without `pretrained`, the weights
are random.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from pnasnet.integrations.image_network import create as _create
except ModuleNotFoundError as _error:
    if not (_error.name or "").startswith("pnasnet"):
        raise
    sys.path.insert(0, str(Path(__file__).parent / "src"))
    from pnasnet.integrations.image_network import create as _create
from pnasnet.architecture.zoo import NETWORKS as _NETWORKS

dependencies = ["torch", "numpy", "PIL", "safetensors", "urllib3"]


def _entry(name: str) -> Callable[..., Any]:
    def build(pretrained: bool = True, **options: Any) -> Any:
        return _create(name, pretrained=pretrained, **options)

    build.__name__, build.__doc__ = name, f"Return {name} in inference mode; see `help` of this module."
    return build


globals().update({_name: _entry(_name) for _name in _NETWORKS})
