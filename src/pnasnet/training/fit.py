"""Run a training: Lightning carries devices, loop, checkpoints, resuming and logs; this says what it is told.

Why Lightning: several GPUs and machines, precision, checkpoints and logging work the same in it as everywhere, it is
maintained, and its loop is what most people who would change this one know already.
"""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, MissingExtraError, OutOfMemoryError, OutputError

try:
    import pytorch_lightning as pl
except ImportError as error:  # also without torch
    raise MissingExtraError.of("pytorch-lightning", "train", "training") from error

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import Callback

from ..lowering.torch_network import Network
from .batches import Pictures, steps_per_epoch
from .callbacks import EachStep, KeepCheckpoints, MovingAverage, WholeFiles
from .epochs import RecipeData
from .folder import best_path, claim, newest, read_history
from .loggers import EpochFigures, open_loggers
from .machine import DEFAULTS, PRECISIONS, Machine
from .memory import check_memory
from .progress import EpochBar
from .recipe import Recipe
from .task import ClassifierTask

log = logging.getLogger(__name__)

_SMALLER = "take it in more parts (--parts), recompute cells (--checkpoint-cells), or take a smaller batch"


@dataclass(frozen=True)
class Fitted:
    """What came of a training.

    Attributes:
        network: with its averaged weights, in inference mode.
        history: the figures of each epoch, as `folder.read_history` returns them.
        rank: of this process; with several devices, those from 1 up have the same result and should be silent.
    """

    network: Network
    history: list[dict[str, float]]
    rank: int = 0


def own_rank() -> int:
    """Return which of the processes of a training this is, 0 for the only one, also before the training has begun.

    For each further device Lightning starts the same command again.
    """
    return int(getattr(rank_zero_only, "rank", 0))


def started_by_others() -> bool:
    """Return whether torchrun or SLURM starts the processes of all devices, at once, and not Lightning from the first.

    A SLURM job called `bash` or `interactive` has the cluster's variables, but is one process: Lightning's rule, too.
    """
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        return True
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return os.environ.get("SLURM_NTASKS", "1") != "1" and not interactive


def fit(
    recipe: Recipe,
    network: Network,
    training: Pictures,
    validation: Pictures | None,
    folder: Path,
    machine: Machine = DEFAULTS,
    *,
    patience: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Fitted:
    """Train to the end, from the newest checkpoint in `folder` if there is one.

    Args:
        recipe: what decides the outcome.
        network: with its first weights; trained in place.
        training: the pictures to learn from.
        validation: pictures to look at after each epoch.
        folder: where checkpoints and figures go.
        machine: what it runs on.
        patience: end once so many validations in a row had no lower loss, and keep the best epoch's weights; without
            validation pictures it does nothing.
        check: called after each step; what it raises ends the training.

    Raises:
        DivergedError: the loss is not finite.
        InputError: the folder holds another recipe's training, the batch is too large for the memory, or the machine
            has no such devices.
        ImageError: a picture can no longer be read.
        MissingExtraError: the package of one of the machine's loggers is not installed.
        OutputError: a checkpoint cannot be written.
        KeyboardInterrupt: the user interrupted it. The same call goes on from the last epoch that was completed.
        SystemExit: the process was told to terminate, and `check` let it pass; its code is never that of success.
    """
    claim(folder, recipe)
    steps = steps_per_epoch(recipe, len(training.labels))
    patience = patience if validation is not None else None
    network.use_memory_format(torch.channels_last if machine.channels_last else torch.contiguous_format)
    network.checkpoint_cells = machine.checkpoint_cells
    with _plain_words(), _errors(folder, recipe):
        trainer = _trainer(recipe, folder, machine, patience, check)
        check_memory(network, recipe, machine, trainer.world_size, trainer.strategy.root_device)
        task = ClassifierTask(network, recipe, steps)
        if machine.compile:
            task.compile_network()
        _run(trainer, task, RecipeData(recipe, training, validation, machine), newest(folder), check)
        _load_averaged(task, best_path(folder) if patience is not None else newest(folder))
    return Fitted(network.eval(), read_history(folder), trainer.global_rank)


def _trainer(
    recipe: Recipe, folder: Path, machine: Machine, patience: int | None, check: Callable[[], None]
) -> pl.Trainer:
    callbacks: list[Callback] = [
        MovingAverage(recipe.average_decay),
        EachStep(check),
        KeepCheckpoints(folder, patience),
    ]
    if machine.progress:
        callbacks.append(EpochBar(recipe))
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
    trainer: pl.Trainer, task: ClassifierTask, data: RecipeData, checkpoint: Path | None, check: Callable[[], None]
) -> None:
    """Let Lightning train."""
    if checkpoint and trainer.is_global_zero:
        log.info("going on from %s", checkpoint)
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:
        # Lightning's answer to Ctrl-C and to SIGTERM; after the first it ignores every further Ctrl-C.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and handler is not None:
            signal.signal(signal.SIGINT, handler)
        check()
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        # SIGTERM's has no code, which would be taken for success.
        raise SystemExit(error.code or 128 + signal.SIGTERM) from error
    except BaseException:
        # The processes of the other devices would wait for this one forever.
        if kill := getattr(trainer.strategy.launcher, "kill", None):
            kill(signal.SIGTERM)
        raise


def _load_averaged(task: ClassifierTask, checkpoint: Path | None) -> None:
    """Take the weights from a checkpoint, which holds the averages where a network has its weights.

    Lightning leaves them in the network only if it has trained in this very run.
    """
    assert checkpoint is not None  # there is one after each epoch
    task.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    task.network.drop_path_progress.fill_(1.0)


# Errors and words.


@contextmanager
def _errors(folder: Path, recipe: Recipe) -> Iterator[None]:
    """Say in a line what ended a training."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"a batch of {recipe.batch_size} does not fit the GPU's memory: {_SMALLER}") from error
    except MisconfigurationException as error:
        raise InputError(f"{' '.join(str(error).split())}: give other devices") from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise OutOfMemoryError(f"a batch of {recipe.batch_size} does not fit the memory: {_SMALLER}") from error
        if not str(error).startswith("DataLoader worker"):
            raise
        raise InputError(
            "a process that decodes pictures has died, most likely for want of memory: give fewer workers (--workers)"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror or error}; what was saved before is kept"
        ) from error


@contextmanager
def _plain_words() -> Iterator[None]:
    """Keep Lightning's advice to its own users away from ours."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
        warnings.filterwarnings("ignore", message=".*(num_workers|save_dir|Checkpoint directory|log_every_n_steps).*")
        # Of several devices' gradients of 1x1 kernels, whose two layouts are one and the same.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
