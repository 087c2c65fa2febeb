"""Training the whole network from a trained classifier on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import InputError
from ..model import ModelName, WeightsName
from ..module import Module
from ..train.fit import fit
from ..train.machine import Machine
from ..train.pictures import prepare
from ..train.recipe import Cosine, CropAndFlip, Recipe, Sgd, ShiftAndFlip
from .options import FinetuneOptions

Variables = Mapping[str, NDArray[np.float32]]

_SMALL = 64
"""Up to this size pictures are shifted and mirrored in memory; larger ones are cropped at random."""


def fine_tune(
    model: ModelName,
    weights: WeightsName | None,
    classifier: Variables,
    training: LabelledImages,
    validation: LabelledImages,
    folder: Path,
    options: FinetuneOptions,
    machine: Machine,
    preset: str,
) -> tuple[dict[str, NDArray[np.float32]], list[dict[str, float]]]:
    """Train all of the network, path dropout at its final rate, and return its variables and each epoch's figures.

    Args:
        model: what to start from.
        weights: its weights, if not the published ones.
        classifier: the variables of the classifier for the new classes.
        training: what to learn from; all of it can be read.
        validation: what ends the training, and chooses the epoch that is kept.
        folder: where checkpoints are, from which a run that was stopped goes on.
        options: rates and numbers.
        machine: what it runs on.
        preset: the preprocessing of validation pictures.

    Raises:
        What `fit` raises; InputError for images that are not square.
    """
    module = Module(model, weights, trainable=True, tags={"train"}, num_classes=len(training.classes))
    height, width = module.image_size
    if height != width:
        raise InputError(f"training the whole network takes square images, not {height}x{width}: leave out --full")
    module.network.load_variables(classifier)
    recipe = recipe_for(module, options, len(training))
    fitted = fit(
        recipe,
        module.network,
        prepare(recipe, training, augmented=True, preset=preset, progress=machine.progress).pictures,
        prepare(recipe, validation, augmented=False, preset=preset, progress=machine.progress).pictures,
        folder,
        machine,
        patience=options.patience,
    )
    wanted = module.model.plan.variables()
    return {name: value for name, value in fitted.network.to_variables().items() if name in wanted}, fitted.history


def recipe_for(module: Module, options: FinetuneOptions, count: int) -> Recipe:
    """Return the recipe that `options` come to for `count` training pictures."""
    size = module.image_size[0]
    steps = max(count // min(options.training_batch, count), 1) * options.epochs
    return Recipe(
        spec=module.model.spec,
        stages=((size, options.epochs),),
        batch_size=min(options.training_batch, count),
        schedule=Cosine(options.learning_rate, warm_up=0.1),
        optimizer=Sgd(momentum=0.9, nesterov=True),
        augmentation=ShiftAndFlip() if size <= _SMALL else CropAndFlip(area=(0.35, 1.0), colours=False),
        clip_norm=10.0,
        average_decay=1 - min(1.0, max(0.001, 20 / steps)) if steps > 20 else 0.0,  # over about a twentieth of it
        batch_norm_momentum=0.99,
        layer_decay=options.layer_decay,
        drop_path_rises=False,
        freeze_batch_norm=not options.train_batch_norm,
        seed=options.seed,
    )
