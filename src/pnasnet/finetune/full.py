"""Trains the whole network, starting from a trained classifier. The only file of this room that needs torch."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import InputError
from ..module.module import Module
from ..module.open import ModelName, WeightsName
from ..support.files import write_text, writing
from ..support.progress import Progress, silent
from ..training.batches import seed_of
from ..training.fit import FitResult, fit, own_rank, started_by_others
from ..training.machine import Machine, check_loggers
from ..training.pictures import prepare
from ..training.recipe import Cosine, CropAndFlip, Recipe, Sgd, ShiftAndFlip
from .head import class_weights
from .options import FinetuneOptions

log = logging.getLogger(__name__)

Variables = Mapping[str, NDArray[np.float32]]

_FINGERPRINT = "fingerprint"
"""The file that identifies the training in a folder."""
_SMALL = 64
"""Up to this size, images are shifted and mirrored in memory; larger ones are cropped at random."""


def check_machine(machine: Machine) -> int:
    """Return the rank of this process, 0 for the first.

    Raises `InputError` if the processes of several devices are started together, because the first one must write split
    and features before the others start. Raises `MissingExtraError` for a logger that is not installed.
    """
    if machine.nodes > 1 or started_by_others():
        raise InputError(
            "fine-tuning runs on one machine, and starts a process for each of its devices: omit --nodes, "
            "and start it once, without torchrun or srun"
        )
    check_loggers(machine)
    return own_rank()


def trainable(model: ModelName, weights: WeightsName | None, classes: int, seed: int) -> Module:
    """Return the network to train. The seed determines the variables that the weights lack.

    Raises:
        InputError: its images are not square, or as in `Module`.
    """
    torch.manual_seed(seed_of(seed))
    module = Module(model, weights, trainable=True, tags={"train"}, num_classes=classes)
    height, width = module.image_size
    if height != width:
        raise InputError(f"training the whole network needs square images, not {height}x{width}: omit --full")
    return module


def lacks_aux_head(module: Module) -> bool:
    """Return whether the weights lack the network's auxiliary head, or have one for other classes."""
    aux = module.model.plan.aux
    return aux is not None and not any(name.startswith(aux.scope) for name in module.model.variables)


def fine_tune(
    module: Module,
    classifier: Variables,
    sets: Sequence[tuple[LabelledImages, Sequence[bytes | None]]],
    folder: Path,
    options: FinetuneOptions,
    machine: Machine,
    preset: str,
    progress: Progress = silent,
) -> FitResult:
    """Train the whole network, with path dropout at its final rate.

    A training in the folder is resumed if everything that determines the outcome is the same; otherwise it is removed.

    Args:
        module: the network to start from, as `trainable` returns it; trained in place.
        classifier: the variables of the classifier for the new classes.
        sets: the training images and the validation images, each with their digests; all are readable. The validation
            loss stops the training and selects the epoch.
        folder: for checkpoints.
        options: rates and numbers.
        machine: the hardware, and how it is used.
        preset: the preprocessing of validation images.
        progress: receives the images decoded and the batches of each epoch. Exceptions from it end the training.

    Raises as `fit`.
    """
    module.network.load_variables(classifier)
    (training, _), _ = sets
    recipe = recipe_for(module, options, training)
    if own_rank() == 0:
        claim(folder, fingerprint(module, classifier, sets, recipe, preset, options.patience))
    pictures, seen = (
        prepare(recipe, data, augmented=data is training, preset=preset, progress=progress).pictures for data, _ in sets
    )
    return fit(recipe, module.network, pictures, seen, folder, machine, patience=options.patience, progress=progress)


def fingerprint(
    module: Module,
    classifier: Variables,
    sets: Sequence[tuple[LabelledImages, Sequence[bytes | None]]],
    recipe: Recipe,
    preset: str,
    patience: int,
) -> str:
    """Return a SHA-256, in hexadecimal, of everything that determines the outcome, including the images' contents."""
    pictures = [
        [[content.hex() if content else None for content in contents], data.labels.tolist(), data.classes]
        for data, contents in sets
    ]
    plain = [module.model.checksum, recipe.to_dict(), preset, patience, pictures]
    digest = hashlib.sha256(json.dumps(plain).encode())
    for name in sorted(classifier):
        digest.update(np.ascontiguousarray(classifier[name], np.float32).tobytes())
    return digest.hexdigest()


def claim(folder: Path, own: str) -> None:
    """Prepare the folder for the training with this fingerprint; another training in it is removed.

    Raises `OutputError` if it cannot be written.
    """
    path = folder / _FINGERPRINT
    with writing(folder):
        if folder.exists():
            if path.exists() and path.read_bytes() == own.encode():
                return
            log.info("%s holds a training of other images, weights or settings: starting over", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    write_text(path, own)


def recipe_for(module: Module, options: FinetuneOptions, training: LabelledImages) -> Recipe:
    """Return the recipe of `options` for these training images."""
    size, count = module.image_size[0], len(training)
    weights = class_weights(training.labels, len(training.classes)).tolist() if options.balanced else None
    steps = max(count // min(options.training_batch, count), 1) * options.epochs
    return Recipe(
        spec=module.model.spec,
        stages=((size, options.epochs),),
        batch_size=min(options.training_batch, count),
        schedule=Cosine(options.learning_rate, warm_up=0.1),
        optimizer=Sgd(momentum=0.9, nesterov=True),
        augmentation=ShiftAndFlip() if size <= _SMALL else CropAndFlip(area=(0.35, 1.0), colours=False),
        class_weights=tuple(weights) if weights else None,
        clip_norm=10.0,
        # The average is over about a twentieth of the training.
        average_decay=1 - max(0.001, 20 / steps) if steps > 20 else 0.0,
        batch_norm_momentum=0.99,
        layer_decay=options.layer_decay,
        drop_path_rises=False,
        freeze_batch_norm=not options.train_batch_norm,
        seed=options.seed,
    )
