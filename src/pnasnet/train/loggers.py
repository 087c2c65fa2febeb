"""Where else the figures of a training go: Lightning's loggers, each of which needs a package of its own."""

from collections.abc import Callable
from pathlib import Path

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from .machine import Machine, check_loggers
from .recipe import Recipe

_PROJECT = "pnasnet"


def _tensorboard(folder: Path) -> Logger:
    return TensorBoardLogger(folder, name="tensorboard", version="")


def _wandb(folder: Path) -> Logger:
    return WandbLogger(name=folder.name, save_dir=folder, project=_PROJECT)


_MAKERS: dict[str, Callable[[Path], Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb}
"""How each of `machine.LOGGERS` is made, for a training's folder."""


def open_loggers(machine: Machine, recipe: Recipe, folder: Path) -> list[Logger]:
    """Return the loggers that the machine names, or has, and tell each what the recipe is.

    Raises `MissingExtraError` where a logger's package is not installed.
    """
    check_loggers(machine)
    loggers = [_MAKERS[each](folder) if isinstance(each, str) else each for each in machine.loggers]
    for logger in loggers:
        logger.log_hyperparams(recipe.to_dict())
    return loggers
