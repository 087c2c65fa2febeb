"""Registers this package's networks in timm: `import pnasnet.timm`, then `timm.create_model("pnasnet_large")`.

Example:
    >>> import timm
    >>> import pnasnet.timm
    >>> pnasnet.timm.register()  # repeats what the import has done
    >>> model = timm.create_model("pnasnet_tiny", pretrained=True, num_classes=0)
    >>> model.num_features, model.pretrained_cfg["input_size"]
    (960, (3, 32, 32))
"""

from .integrations.timm import register

__all__ = ["register"]

register()
