"""Where else the figures of a training go: Lightning's loggers, each of which needs a package of its own."""

from collections.abc import Callable
from pathlib import Path

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from ..errors import MissingExtraError
from .machine import Machine
from .recipe import Recipe

_PROJECT = "pnasnet"


def _tensorboard(folder: Path) -> Logger:
    return TensorBoardLogger(folder, name="tensorboard", version="")


def _wandb(folder: Path) -> Logger:
    return WandbLogger(name=folder.name, save_dir=folder, project=_PROJECT)


_MAKERS: dict[str, Callable[[Path], Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb}
"""How each of `machine.LOGGERS` is made, for a training's folder; the name is also its package's."""


def open_loggers(machine: Machine, recipe: Recipe, folder: Path) -> list[Logger]:
    """Return the loggers that the machine names, or has, and tell each what the recipe is.

    Raises `MissingExtraError` where a logger's package is not installed.
    """
    loggers = [_open(each, folder) if isinstance(each, str) else each for each in machine.loggers]
    for logger in loggers:
        logger.log_hyperparams(recipe.to_dict())
    return loggers


def _open(name: str, folder: Path) -> Logger:
    try:
        return _MAKERS[name](folder)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the logger {name} needs {name}, which is not installed: pip install {name}"
        ) from error
