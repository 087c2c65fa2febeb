"""Loggers of a training's figures: the folder's own CSV file, and Lightning's loggers, which need other packages."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from .folder import LOGS
from .machine import Machine, check_loggers
from .recipe import Recipe


class EpochFigures(CSVLogger):
    """The folder's own CSV file: a row for each epoch, written before the epoch's checkpoint."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name=LOGS)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Ignore Lightning's figures: it sends those of an epoch in pieces, some of them after the checkpoint."""

    @rank_zero_only
    def log_epoch(self, figures: Mapping[str, float], step: int) -> None:
        """Write the figures of an epoch. `step` is the number of steps before the last one."""
        super().log_metrics(dict(figures), step)
        self.save()


_MAKERS: dict[str, Callable[[Path], Logger]] = {
    "tensorboard": lambda folder: TensorBoardLogger(folder, name="tensorboard", version=""),
    "wandb": lambda folder: WandbLogger(name=folder.name, save_dir=folder, project="pnasnet"),
}
"""Create each of `machine.LOGGERS` for a training's folder."""


def open_loggers(machine: Machine, recipe: Recipe, folder: Path) -> list[Logger]:
    """Return the machine's loggers, with the recipe as their hyperparameters. Raises `MissingExtraError`."""
    check_loggers(machine)
    loggers = [_MAKERS[each](folder) if isinstance(each, str) else each for each in machine.loggers]
    for logger in loggers:
        logger.log_hyperparams(recipe.to_dict())
    return loggers
