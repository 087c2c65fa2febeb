"""The images of a training as a Lightning data module: a new loader for each epoch."""

import signal
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from .batches import Examples, epoch_loader, evaluation_loader
from .machine import Machine
from .recipe import Recipe


class RecipeData(pl.LightningDataModule):
    """Training and validation images, in the order and at the sizes of a recipe."""

    def __init__(self, recipe: Recipe, training: Examples, validation: Examples | None, machine: Machine) -> None:
        super().__init__()
        self._recipe, self._training, self._validation = recipe, training, validation
        self._machine = machine

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of the coming epoch."""
        assert self.trainer is not None
        epoch = min(self.trainer.current_epoch, len(self._recipe.sizes) - 1)  # a finished training has no next epoch
        return epoch_loader(self._recipe, self._training, epoch, **self._options(self._training))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return the validation images."""
        if self._validation is None:
            return []
        return evaluation_loader(self._recipe, self._validation, **self._options(self._validation))

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Raise an error of the processes that decode images."""
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _options(self, pictures: Examples) -> dict[str, Any]:
        assert self.trainer is not None
        devices = self.trainer.world_size
        workers = 0 if pictures.decoded else self._machine.workers_for(devices // self._machine.nodes)
        own = {"rank": self.trainer.global_rank, "devices": devices, "parts": self._machine.parts}
        return {**own, "num_workers": workers, "worker_init_fn": _ignore_interrupts}


def _ignore_interrupts(worker: int) -> None:
    # A terminal sends Ctrl-C to all processes; a worker that ended on it would abort the training.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
