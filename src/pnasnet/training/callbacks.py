"""What a training does after each step and each epoch, as Lightning's callbacks."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, WeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from ..errors import OutputError
from ..support.files import replacing
from .folder import best_path, newest_path, remove_leftovers, remove_older
from .loggers import EpochFigures

log = logging.getLogger(__name__)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there, so that each is whole or not there at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write it. Raises `OutputError`."""
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except OSError as error:
            reason = (error.strerror or str(error)).partition(" [")[0]  # torch appends where in its own code
            raise OutputError(
                f"cannot write {target}: {reason}; the checkpoint before is kept: free some space, and run it again"
            ) from error


class MovingAverage(WeightAveraging):
    """Keeps the exponential moving average of the weights, with a decay that begins low.

    The first average is a copy of the weights after step 0. After a later step t it is min(decay, (1 + t) / (10 + t)),
    so that the first weights are soon forgotten: what TensorFlow's `ExponentialMovingAverage` does with a number of
    steps, and TF-Slim gives it one.
    """

    def __init__(self, decay: float) -> None:
        """Take the final decay."""
        super().__init__(multi_avg_fn=self._update)
        self._decay, self._step = decay, 0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return True after each step, and note which one it was."""
        self._step = self._step if step_idx is None else step_idx
        return step_idx is not None

    @torch.no_grad()
    def _update(self, averages: list[Tensor], weights: list[Tensor], _: Any) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - min(self._decay, (1 + self._step) / (10 + self._step)))
        else:  # how many batches have been counted
            torch._foreach_copy_(averages, weights)


class KeepCheckpoints(Checkpoint):
    """Saves the training after each epoch, and the best one where it is to end once nothing gets better.

    Its kind lets Lightning call it last, when all that is to be saved has been settled.
    """

    def __init__(self, folder: Path, patience: int | None) -> None:
        """Take the training's folder, and after how many validations without a lower loss to end; None for never."""
        self._folder, self._patience = folder, patience
        self._best, self._waited = float("inf"), 0
        self._validated = False

    @property
    def _exhausted(self) -> bool:
        return self._patience is not None and self._waited >= self._patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End at once what had ended before; make room for what is to be saved."""
        if trainer.is_global_zero:
            remove_leftovers(self._folder)
        trainer.should_stop = trainer.should_stop or self._exhausted

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that this epoch has a validation loss; an earlier one's would still be there."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save: the figures first, so that no epoch that a checkpoint counts as done is without them."""
        self._log_figures(trainer)
        if self._patience is not None and self._validated:
            loss = float(trainer.callback_metrics["validation_loss"])
            better = loss < self._best
            self._best, self._waited = min(loss, self._best), 0 if better else self._waited + 1
            if better:
                trainer.save_checkpoint(best_path(self._folder))
        self._validated = False
        trainer.save_checkpoint(newest_path(self._folder, trainer.current_epoch))
        if trainer.is_global_zero:
            remove_older(self._folder)
        if self._exhausted:
            log.info(
                "no lower validation loss in %s epochs: ended after epoch %s", self._waited, trainer.current_epoch + 1
            )
            trainer.should_stop = True

    def _log_figures(self, trainer: pl.Trainer) -> None:
        """Write the epoch's figures into the folder; other loggers have them from Lightning, in its own order."""
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("validation_")  # an earlier epoch's are still there
        }
        for logger in trainer.loggers:
            if isinstance(logger, EpochFigures):
                logger.log_epoch({**figures, "epoch": trainer.current_epoch}, trainer.global_step - 1)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self._best, self._waited = state_dict["best"], state_dict["waited"]


class EachStep(Callback):
    """Asks after each step whether to go on, and lets the last epoch be validated whatever the interval is."""

    def __init__(self, check: Callable[[], None]) -> None:
        """Take what raises to end the training."""
        self._check = check

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look whether it is the last one."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Ask."""
        self._check()

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Ask."""
        self._check()
