"""The recipes in the package. The docstring of each file has its command, hardware and result."""

from importlib import import_module

from ...errors import UnknownNameError
from ...training.recipe import Recipe

__all__ = ["NAMES", "describe_recipe", "find_recipe"]

NAMES = ("imagenet_large", "imagenet_mobile", "cifar10", "cifar10_short", "pnasnet_small", "pnasnet_tiny")
"""Names of the recipes, which are the names of modules in this package."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name. Raises `UnknownNameError`."""
    if name not in NAMES:
        raise UnknownNameError.of("recipe", name, (*NAMES, "a .toml or .py file"))
    recipe: Recipe = import_module(f".{name}", __name__).RECIPE
    return recipe


def describe_recipe(name: str) -> str:
    """Return a recipe's docstring: command, data, hardware and result. Raises `UnknownNameError`."""
    find_recipe(name)
    return (import_module(f".{name}", __name__).__doc__ or "").strip()
