"""Training the whole network from a trained classifier on."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import InputError
from ..module.module import Module
from ..module.open import ModelName, WeightsName
from ..support.files import replacing, writing
from ..training.batches import seed_of
from ..training.fit import fit, own_rank
from ..training.machine import Machine
from ..training.pictures import prepare
from ..training.recipe import Cosine, CropAndFlip, Recipe, Sgd, ShiftAndFlip
from .head import class_weights
from .options import FinetuneOptions

log = logging.getLogger(__name__)

Variables = Mapping[str, NDArray[np.float32]]

_FINGERPRINT = "fingerprint"
"""What tells a folder's training from others: of what it is."""
_SMALL = 64
"""Up to this size pictures are shifted and mirrored in memory; larger ones are cropped at random."""


@dataclass(frozen=True)
class Tuned:
    """What came of training the whole network.

    Attributes:
        variables: the network's, without the auxiliary head's.
        history: the figures of each epoch.
        rank: of this process, as `Fitted` has it.
    """

    variables: dict[str, NDArray[np.float32]]
    history: list[dict[str, float]]
    rank: int = 0


def trainable(model: ModelName, weights: WeightsName | None, classes: int, seed: int) -> Module:
    """Return the network to train; what the weights lack of it follows from the seed alone.

    Raises:
        InputError: it takes images that are not square. And what `Module` raises.
    """
    torch.manual_seed(seed_of(seed))
    module = Module(model, weights, trainable=True, tags={"train"}, num_classes=classes)
    height, width = module.image_size
    if height != width:
        raise InputError(f"training the whole network takes square images, not {height}x{width}: leave out --full")
    return module


def lacks_aux_head(module: Module) -> bool:
    """Whether the network has an auxiliary head that its weights lack, or have for other classes."""
    aux = module.model.plan.aux
    return aux is not None and not any(name.startswith(aux.scope) for name in module.model.variables)


def fine_tune(
    module: Module,
    classifier: Variables,
    training: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    options: FinetuneOptions,
    machine: Machine,
    preset: str,
    check: Callable[[], None] = lambda: None,
) -> Tuned:
    """Train all of the network, path dropout at its final rate.

    A training in the folder is gone on with if it is the same in all that decides the outcome, and else removed.

    Args:
        module: the network to start from, as `trainable` returns it; trained in place.
        classifier: the variables of the classifier for the new classes.
        training: what to learn from; all of it can be read.
        validation: what ends the training, and chooses the epoch that is kept.
        folder: where checkpoints are, from which a run that was stopped goes on.
        options: rates and numbers.
        machine: what it runs on.
        preset: the preprocessing of validation pictures.
        check: called after each picture that is decoded before, and each step; what it raises ends the training.

    Raises:
        What `fit` raises.
    """
    module.network.load_variables(classifier)
    recipe = recipe_for(module, options, training)
    if own_rank() == 0:
        begin(folder, fingerprint(module, classifier, training, validation, recipe, preset, options.patience))
    pictures, seen = (
        prepare(recipe, data, augmented=data is training, preset=preset, progress=lambda *_: check()).pictures
        for data in (training, validation)
    )
    fitted = fit(
        recipe, module.network, pictures, seen, folder, machine, patience=options.patience, progress=lambda *_: check()
    )
    wanted = module.model.plan.variables()
    variables = {name: value for name, value in fitted.network.to_variables().items() if name in wanted}
    return Tuned(variables, fitted.history, fitted.rank)


def fingerprint(
    module: Module,
    classifier: Variables,
    training: LabelledImages,
    validation: LabelledImages,
    recipe: Recipe,
    preset: str,
    patience: int,
) -> str:
    """Return a SHA-256 in hexadecimal of all that decides the outcome: two trainings are the same if theirs are."""
    pictures = [[list(map(str, data.names)), data.labels.tolist(), data.classes] for data in (training, validation)]
    plain = [module.model.checksum, recipe.to_dict(), preset, patience, pictures]
    digest = hashlib.sha256(json.dumps(plain).encode())
    for name in sorted(classifier):
        digest.update(np.ascontiguousarray(classifier[name], np.float32).tobytes())
    return digest.hexdigest()


def begin(folder: Path, own: str) -> None:
    """Make the folder that of the training with this fingerprint; another training that it holds is removed.

    Raises `OutputError` where it cannot be written.
    """
    path = folder / _FINGERPRINT
    with writing(folder):
        if folder.exists():
            if path.exists() and path.read_bytes() == own.encode():
                return
            log.info("%s holds a training of other pictures, weights or settings: this one begins anew", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        with replacing(path) as temporary:
            temporary.write_text(own, "utf-8")


def recipe_for(module: Module, options: FinetuneOptions, training: LabelledImages) -> Recipe:
    """Return the recipe that `options` come to for these training pictures."""
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
        average_decay=1 - min(1.0, max(0.001, 20 / steps)) if steps > 20 else 0.0,  # over about a twentieth of it
        batch_norm_momentum=0.99,
        layer_decay=options.layer_decay,
        drop_path_rises=False,
        freeze_batch_norm=not options.train_batch_norm,
        seed=options.seed,
    )
