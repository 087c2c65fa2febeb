"""How far a training is, on standard error, where results are not."""

import logging
import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from tqdm import tqdm

from .recipe import Recipe

log = logging.getLogger(__name__)

_LOOK = 50
"""Steps between two looks at the loss, for which a GPU has to wait."""


class EpochBar(Callback):
    """A bar for each epoch, with its rate, the remaining time and the loss; without a terminal a line now and then."""

    def __init__(self, recipe: Recipe) -> None:
        """Take the recipe, for its image sizes."""
        self._sizes = recipe.sizes
        self._bar: Any = None
        self._validated = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a bar."""
        epoch, terminal = trainer.current_epoch, sys.stderr.isatty()
        self._bar = tqdm(
            total=int(trainer.num_training_batches),
            desc=f"epoch {epoch + 1}/{len(self._sizes)} at {self._sizes[epoch]} px",
            unit="batch",
            leave=False,
            dynamic_ncols=terminal,
            mininterval=0.1 if terminal else 60,
            delay=0 if terminal else 60,
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move it on."""
        if batch_idx % _LOOK == 0:
            self._bar.set_postfix(loss=f"{float(outputs['loss']):.3f}", refresh=False)
        self._bar.update()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that this epoch was validated; an earlier one's figures would still be there."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put a line in its place."""
        self._close()
        metrics = trainer.callback_metrics
        text = f"epoch {trainer.current_epoch + 1}/{len(self._sizes)}: loss {float(metrics['loss']):.4f}"
        if self._validated:
            text += f", validation loss {float(metrics['validation_loss']):.4f}"
            text += f", top-1 {float(metrics['validation_top1']):.2%}"
        self._validated = False
        if trainer.is_global_zero:
            log.info("%s", text)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave no half a bar behind."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
