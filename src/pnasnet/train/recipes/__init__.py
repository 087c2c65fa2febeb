"""Recipes: short files, each of which says its command, its hardware and what comes out."""

from importlib import import_module

from ...errors import UnknownNameError
from ...training.recipe import Recipe

__all__ = ["NAMES", "describe_recipe", "find_recipe"]

NAMES = ("imagenet_large", "imagenet_mobile", "cifar10", "cifar10_short", "pnasnet_tiny")
"""The recipes that come with the package; each is a module of this package."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe by its name. Raises `UnknownNameError`, with the nearest names."""
    if name not in NAMES:
        raise UnknownNameError.of("recipe", name, list(NAMES))
    recipe: Recipe = import_module(f".{name}", __name__).RECIPE
    return recipe


def describe_recipe(name: str) -> str:
    """Return what a recipe's file says about itself: command, data, hardware, result. Raises as `find_recipe`."""
    find_recipe(name)
    return (import_module(f".{name}", __name__).__doc__ or "").strip()
