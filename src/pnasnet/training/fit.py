"""Runs a training with Lightning, which provides the loop, devices, precision, checkpoints, resuming and logging.

`task` computes a step; `callbacks` act between steps. docs/decisions/lightning.md has the reasons for Lightning.
"""

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, MissingExtraError, OutOfMemoryError
from ..support.contexts import contextmanager

try:
    import pytorch_lightning as pl
except ImportError as error:  # also if torch is missing
    raise MissingExtraError.of("pytorch-lightning", "train", "training") from error

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import Callback

from ..lowering.torch_network import Network
from ..support.files import writing
from ..support.progress import Progress, silent
from ..support.system import lacks_memory
from .batches import Examples, steps_per_epoch
from .callbacks import KeepCheckpoints, MovingAverage, ReportProgress, WholeFiles
from .epochs import RecipeData
from .folder import best_path, claim, newest, read_history
from .loggers import EpochFigures, open_loggers
from .machine import DEFAULTS, PRECISIONS, Machine
from .memory import check_memory
from .recipe import Recipe
from .task import ClassifierTask

log = logging.getLogger(__name__)

_SMALLER = "use more parts (--parts), recompute cells (--checkpoint-cells), or use a smaller batch"


@dataclass(frozen=True)
class FitResult:
    """The outcome of a training.

    Attributes:
        network: the network with its averaged weights, in inference mode.
        history: the figures of each epoch, as `folder.read_history` returns them.
        rank: rank of this process. With several devices, all have the same outcome; only rank 0 should report it.
    """

    network: Network
    history: list[dict[str, float]]
    rank: int = 0


def own_rank() -> int:
    """Return the rank of this process in its training, from 0. It is known before the training starts.

    Lightning runs the same command once more for each further device.
    """
    return int(getattr(rank_zero_only, "rank", 0))


def started_by_others() -> bool:
    """Return whether torchrun or SLURM starts the processes of all devices at once, instead of Lightning.

    In a SLURM job named `bash` or `interactive`, Lightning starts them, by its own rule.
    """
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        return True
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return os.environ.get("SLURM_NTASKS", "1") != "1" and not interactive


def fit(
    recipe: Recipe,
    network: Network,
    training: Examples,
    validation: Examples | None,
    folder: Path,
    machine: Machine = DEFAULTS,
    *,
    patience: int | None = None,
    progress: Progress = silent,
) -> FitResult:
    """Train to the end, from the newest checkpoint in `folder` if there is one. The caller holds the folder's lock.

    Args:
        recipe: decides the outcome.
        network: the network with its initial weights; it is trained in place.
        training: the images to learn from.
        validation: images to validate with after each epoch.
        folder: the folder of checkpoints and figures.
        machine: the hardware, and how it is used.
        patience: number of validations without a lower loss after which to stop and keep the best epoch's weights.
            Ignored without validation images.
        progress: receives the batches of each epoch. Exceptions from it end the training.

    Raises:
        DivergedError: the loss is not finite.
        InputError: the folder holds another recipe's training, or the machine has no such devices.
        OutOfMemoryError: the batch does not fit the memory.
        ImageError: an image can no longer be read.
        MissingExtraError: the package of one of the machine's loggers is not installed.
        OutputError: a checkpoint cannot be written.
        KeyboardInterrupt: the user interrupted the training. The same call resumes it after its last whole epoch.
        SystemExit: the process was told to terminate, and `progress` did not raise. The exit code is never 0.
    """
    claim(folder, recipe)
    patience = patience if validation is not None else None
    network.use_memory_format(torch.channels_last if machine.channels_last else torch.contiguous_format)
    network.checkpoint_cells = machine.checkpoint_cells
    with _quiet_lightning(), writing(folder, "finished epochs are kept; free some space, and repeat the command"):
        reports = ReportProgress(recipe, progress)
        with _errors(recipe):
            trainer = _trainer(recipe, folder, machine, patience, reports)
            check_memory(network, recipe, machine, trainer.world_size, trainer.strategy.root_device)
            task = ClassifierTask(network, recipe, steps_per_epoch(recipe, len(training.labels)))
            if machine.compile:
                task.compile_network()
            _run(trainer, task, RecipeData(recipe, training, validation, machine), newest(folder), reports)
        _load_averaged(task, best_path(folder) if patience is not None else newest(folder))
    return FitResult(network.eval(), read_history(folder), trainer.global_rank)


def _trainer(
    recipe: Recipe, folder: Path, machine: Machine, patience: int | None, reports: ReportProgress
) -> pl.Trainer:
    callbacks: list[Callback] = [MovingAverage(recipe.average_decay), reports, KeepCheckpoints(folder, patience)]
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        precision=PRECISIONS[machine.precision],  # type: ignore[arg-type]
        max_epochs=len(recipe.sizes),
        accumulate_grad_batches=machine.parts,
        gradient_clip_val=recipe.clip_norm,
        callbacks=callbacks,
        plugins=[WholeFiles()],
        logger=[EpochFigures(folder), *open_loggers(machine, recipe, folder)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=machine.validate_every,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )


def _run(
    trainer: pl.Trainer, task: ClassifierTask, data: RecipeData, checkpoint: Path | None, reports: ReportProgress
) -> None:
    if checkpoint and trainer.is_global_zero:
        log.info("resuming from %s", checkpoint)
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        # Lightning raises it on Ctrl-C and SIGTERM; after the first Ctrl-C it ignores all others.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and handler is not None:
            signal.signal(signal.SIGINT, handler)
        reports.again()
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        # On SIGTERM it has no code, and a shell would treat that as success.
        raise SystemExit(error.code or 128 + signal.SIGTERM) from error
    except BaseException:
        # Otherwise the other devices' processes would wait for this one forever.
        if kill := getattr(trainer.strategy.launcher, "kill", None):
            kill(signal.SIGTERM)
        raise


def _load_averaged(task: ClassifierTask, checkpoint: Path | None) -> None:
    """Load the averaged weights from a checkpoint, which stores them as the network's.

    Lightning leaves them in the network only if this run has trained, not if the training was already complete.
    """
    assert checkpoint is not None  # each epoch writes one
    task.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    task.network.drop_path_progress.fill_(1.0)


# Errors and warnings.


@contextmanager
def _errors(recipe: Recipe) -> Iterator[None]:
    """Turn torch's and Lightning's errors into ours."""
    try:
        yield
    except MisconfigurationException as error:
        raise InputError(f"{' '.join(str(error).split())}: choose other devices (--accelerator, --devices)") from error
    except (RuntimeError, MemoryError) as error:
        if lacks_memory(error):
            memory = "GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
            raise OutOfMemoryError(f"a batch of {recipe.batch_size} does not fit the {memory}: {_SMALLER}") from error
        if not str(error).startswith("DataLoader worker"):
            raise
        raise OutOfMemoryError(
            "a process that decodes images has died, most likely from lack of memory: use fewer (--workers)"
        ) from error


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's advice to its own users."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
        warnings.filterwarnings("ignore", message=".*(num_workers|save_dir|Checkpoint directory|log_every_n_steps).*")
        # From the gradients of 1x1 kernels on several devices: their two layouts are the same.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
