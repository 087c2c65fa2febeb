"""The pictures of a training as Lightning asks for them: a new loader for each epoch."""

import signal
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from .batches import Pictures, epoch_loader, evaluation_loader
from .machine import Machine
from .recipe import Recipe


class RecipeData(pl.LightningDataModule):
    """Training and validation pictures, in the order and at the sizes that a recipe says."""

    def __init__(self, recipe: Recipe, training: Pictures, validation: Pictures | None, machine: Machine) -> None:
        """Take the pictures."""
        super().__init__()
        self._recipe, self._training, self._validation = recipe, training, validation
        self._machine = machine

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of the epoch that begins."""
        assert self.trainer is not None
        epoch = min(self.trainer.current_epoch, len(self._recipe.sizes) - 1)  # a finished training has none to come
        return epoch_loader(self._recipe, self._training, epoch, **self._options(self._training))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Return the validation pictures."""
        if self._validation is None:
            return []
        return evaluation_loader(self._recipe, self._validation, **self._options(self._validation))

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Raise the error that a process met which decodes pictures."""
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _options(self, pictures: Pictures) -> dict[str, Any]:
        assert self.trainer is not None
        devices = self.trainer.world_size
        workers = 0 if pictures.decoded else self._machine.workers_for(devices // self._machine.nodes)
        own = {"rank": self.trainer.global_rank, "devices": devices, "parts": self._machine.parts}
        return {**own, "num_workers": workers, "worker_init_fn": _leave_interrupts_to_the_training}


def _leave_interrupts_to_the_training(worker: int) -> None:
    # A terminal sends Ctrl-C to all processes; one that dies of it would end the training before it ends itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
