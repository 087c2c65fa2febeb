"""Where the figures of a training go: its folder, and Lightning's loggers, each of which needs a package of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from .folder import LOGS
from .machine import Machine, check_loggers
from .recipe import Recipe

_PROJECT = "pnasnet"


class EpochFigures(CSVLogger):
    """The folder's own table: a row for each epoch, written before its checkpoint."""

    def __init__(self, folder: Path) -> None:
        """Take the training's folder."""
        super().__init__(folder, name=LOGS)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Pass over what Lightning sends: an epoch's figures in parts, the last of them after its checkpoint."""

    @rank_zero_only
    def log_epoch(self, figures: Mapping[str, float], step: int) -> None:
        """Write all figures of an epoch, the number of steps that were taken before its last among them."""
        super().log_metrics(dict(figures), step)
        self.save()


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
