"""Registers this package's networks in timm: `import pnasnet.timm`, then `timm.create_model("pnasnet_large")`."""

from .integrations.timm import register

__all__ = ["register"]

register()
