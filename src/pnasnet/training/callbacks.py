"""Lightning callbacks of a training: moving average, progress and checkpoints."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, WeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from ..support.files import remove_temporaries, replacing, writing
from ..support.progress import Progress
from .folder import best_path, newest_path, remove_older
from .loggers import EpochFigures
from .recipe import Recipe

log = logging.getLogger(__name__)

_LOG_SECONDS = 300
"""Seconds between two lines about the loss within an epoch."""


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint. Raises `OutputError`; the previous checkpoint is kept."""
        target = Path(path)
        with writing(target.parent):
            target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class MovingAverage(WeightAveraging):
    """Keeps the exponential moving average of the weights, with a decay that starts low.

    The first average is a copy of the weights after step 0. After a later step t the decay is
    min(decay, (1 + t) / (10 + t)), so that the first weights are soon forgotten, as in TensorFlow's
    `ExponentialMovingAverage` with `num_updates`, which TF-Slim uses.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._update)
        self._decay, self._step = decay, 0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return True after each step, and remember the step."""
        self._step = self._step if step_idx is None else step_idx
        return step_idx is not None

    @torch.no_grad()
    def _update(self, averages: list[Tensor], weights: list[Tensor], _: Any) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - min(self._decay, (1 + self._step) / (10 + self._step)))
        else:  # the number of batches seen
            torch._foreach_copy_(averages, weights)


class ReportProgress(Callback):
    """Reports each batch, logs the loss of long epochs every few minutes, and always validates after the last epoch.

    Exceptions from `progress` end the training.
    """

    def __init__(self, recipe: Recipe, progress: Progress) -> None:
        self._sizes, self._progress = recipe.sizes, progress
        self._last: tuple[str, int, int | None] | None = None
        self._logged = time.monotonic()

    def again(self) -> None:
        """Repeat the last report, so that a listener that wants to stop can raise."""
        if self._last is not None:
            self._progress(*self._last)

    def _report(self, stage: str, done: int, total: float) -> None:
        self._last = (stage, done, int(total))
        self._progress(*self._last)

    def _epoch(self, trainer: pl.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{len(self._sizes)}"

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let Lightning validate after the last epoch."""
        self._logged = time.monotonic()
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report a step."""
        epoch, batches = self._epoch(trainer), trainer.num_training_batches
        self._report(f"{epoch} at {self._sizes[trainer.current_epoch]} px", batch_idx + 1, batches)
        if trainer.is_global_zero and time.monotonic() >= self._logged + _LOG_SECONDS:
            self._logged = time.monotonic()
            log.info("%s, batch %s of %s: loss %.4f", epoch, batch_idx + 1, batches, float(outputs["loss"]))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Report a batch of the validation."""
        self._report(f"{self._epoch(trainer)}, validation", batch_idx + 1, trainer.num_val_batches[0])


class KeepCheckpoints(Checkpoint):
    """Saves the training after each epoch. With `patience`, also saves the best epoch.

    The training stops after `patience` validations without a lower loss. Lightning calls a `Checkpoint` after all other
    callbacks, so that the saved state is final.
    """

    def __init__(self, folder: Path, patience: int | None) -> None:
        self._folder, self._patience = folder, patience
        self._best, self._waited = float("inf"), 0
        self._validated = False

    @property
    def _exhausted(self) -> bool:
        return self._patience is not None and self._waited >= self._patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove temporary files of a killed run. Stop at once if an earlier run stopped early."""
        if trainer.is_global_zero:
            for path in (newest_path(self._folder, trainer.current_epoch), best_path(self._folder)):
                remove_temporaries(path, older_than=0)
        trainer.should_stop = trainer.should_stop or self._exhausted

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record that this epoch was validated, because Lightning keeps the metrics of earlier validations."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch's figures, then its checkpoint: an epoch with a checkpoint always has its figures."""
        self._keep_figures(trainer)
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
            log.info("no lower validation loss for %s epochs: stopped after epoch %s",
                     self._waited, trainer.current_epoch + 1)  # fmt: skip
            trainer.should_stop = True

    def _keep_figures(self, trainer: pl.Trainer) -> None:
        """Log the epoch's figures and write them to the folder; Lightning itself sends them to other loggers."""
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("validation_")
        }
        for logger in trainer.loggers:
            if isinstance(logger, EpochFigures):
                logger.log_epoch({**figures, "epoch": trainer.current_epoch}, trainer.global_step - 1)
        if trainer.is_global_zero:
            text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: loss {figures['loss']:.4f}"
            if "validation_loss" in figures:
                text += f", validation loss {figures['validation_loss']:.4f}, top-1 {figures['validation_top1']:.2%}"
            log.info("%s", text)

    def state_dict(self) -> dict[str, Any]:
        """Return the state to store in a checkpoint."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""
        self._best, self._waited = state_dict["best"], state_dict["waited"]
