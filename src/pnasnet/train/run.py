"""Trains a network by a recipe, from labelled images to a file with weights.

Example:
    >>> from dataclasses import replace
    >>> from pnasnet import PNASNET5, NetworkSpec
    >>> from pnasnet.datasets import open_dataset
    >>> from pnasnet.train.recipe_file import open_recipe
    >>> from pnasnet.train.run import TrainResult, train
    >>> spec = NetworkSpec(PNASNET5, 3, 4, (16, 16), 3, stem="cifar", aux_head=False)
    >>> recipe = replace(open_recipe("cifar10_short"), spec=spec, stages=((16, 1),), batch_size=20)
    >>> trained = train(recipe, "animals", open_dataset("animals"), open_dataset("animals"), "run")
    >>> trained.path.as_posix(), trained.epochs, 0 <= trained.validation_top1 <= 1
    ('run/model.safetensors', 1, True)
"""

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from ..support.arguments import checked
from ..training.fit import FitResult, fit, own_rank  # imported first, because it reports a missing extra

# isort: split
from ..datasets import LabelledImages
from ..errors import InputError
from ..lowering.torch_network import Network
from ..module.open import Model, WeightsName, metadata, open_model
from ..support.files import remove_temporaries
from ..support.locks import locked
from ..support.progress import Progress, silent
from ..training.batches import steps_per_epoch
from ..training.folder import MODEL, claim, read_skipped, write_skipped
from ..training.machine import DEFAULTS, Machine
from ..training.pictures import PreparedSet, Skipped, prepare
from ..training.recipe import Recipe
from ..training.task import initial_network
from ..weights import AUXILIARY_HEAD, CLASSIFIER, write_weights
from .classes import check_classes, to_logits, with_classes_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Attributes:
        path: the file with the averaged weights.
        fitted: the network, and the measurements of each epoch.
        skipped: the images that cannot be read, with errors.
        pictures: number of images, including skipped ones.
        seconds: duration of this run, without earlier, interrupted runs.
    """

    path: Path
    fitted: FitResult
    skipped: Skipped
    pictures: int
    seconds: float

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return len(self.fitted.history)

    @property
    def validation_top1(self) -> float | None:
        """Top-1 accuracy on the validation images after the last epoch, in [0, 1]; None without validation images."""
        return self.fitted.history[-1].get("validation_top1")


@checked
def begin_from(recipe: Recipe, weights: WeightsName) -> tuple[Recipe, Model]:
    """Return a recipe that starts from given weights, and the weights, checked against the recipe's network.

    `weights` may be a file, a folder, or the name of a published set. They may lack the auxiliary head, and their heads
    may have another number of classes: such a head starts with random weights. Raises the errors of `open_model`.
    """
    first = open_model(recipe.spec, weights, num_classes=recipe.spec.num_classes, training=True)
    return replace(recipe, first_weights=first.checksum), first


@checked
def finished(recipe: Recipe, folder: Path) -> Path | None:
    """Return the file with weights if the folder holds a finished training of this recipe; otherwise None.

    Raises `InputError` if it holds a training of another recipe, or another model.
    """
    path = folder / MODEL
    if not path.exists():
        return None
    claim(folder, recipe)
    return path


@checked
def train(
    recipe: Recipe,
    name: str,
    training: LabelledImages,
    validation: LabelledImages | None,
    folder: str | PathLike[str],
    machine: Machine = DEFAULTS,
    *,
    first: Model | None = None,
    progress: Progress = silent,
) -> TrainResult:
    """Train a recipe's network, or resume an interrupted training, and write the averaged weights.

    Args:
        recipe: the recipe, which decides the result.
        name: name of the model.
        training: the images to train on. Unreadable ones are skipped.
        validation: the images to validate on after each epoch, with classes of the training images.
        folder: output folder, for `model.safetensors` at the end, `skipped.json`, checkpoints and measurements.
        machine: the hardware, and how it is used.
        first: the weights to start from, as returned by `begin_from`; None for random weights.
        progress: receives the images decoded, and the batches of each epoch. If it raises, the training stops.

    Raises:
        InputError: `first` or the classes do not match the recipe, a class has no readable images, or as in `fit`.
        LockedError: another training writes to the folder. OutputError: a file cannot be written.
    """
    started, folder = time.monotonic(), Path(folder)
    assert recipe.spec.num_classes is not None  # checked by the recipe
    if recipe.first_weights != (first.checksum if first else None):
        raise InputError("the recipe starts from other weights: pass both values that `begin_from` returns")
    _check(recipe, machine, training)
    if validation is not None:
        validation, _ = to_logits(with_classes_of(validation, training), recipe.spec.num_classes)
    training, note = to_logits(training, recipe.spec.num_classes)
    log.info("%s", note)
    # The processes of other devices use the same folder on behalf of the one with its lock.
    with locked(folder) if own_rank() == 0 else nullcontext():
        claim(folder, recipe)
        sets = _prepare(recipe, training, validation, folder, progress)
        seen = sets["validation"].pictures if validation is not None else None
        network = _first_network(recipe, first, training.classes)
        fitted = fit(recipe, network, sets["training"].pictures, seen, folder, machine, progress=progress)
        if fitted.rank == 0:
            model = Model(name, fitted.network.plan, None, (), _origin(name, first), training.classes)
            _write(folder / MODEL, fitted, model)
    skipped = {name: reason for prepared in sets.values() for name, reason in prepared.skipped.items()}
    count = sum(prepared.count for prepared in sets.values())
    return TrainResult(folder / MODEL, fitted, skipped, count, time.monotonic() - started)


def _check(recipe: Recipe, machine: Machine, training: LabelledImages) -> None:
    machine.check_batch(recipe.batch_size, freeze_batch_norm=recipe.freeze_batch_norm)
    steps_per_epoch(recipe, len(training))
    check_classes(training)


def _write(path: Path, fitted: FitResult, model: Model) -> None:
    """Write the averaged weights. The caller holds the folder's lock, so existing temporary files are leftovers."""
    remove_temporaries(path, older_than=0)
    write_weights(path, fitted.network.to_variables(), **metadata(model))


def _origin(name: str, first: Model | None) -> str:
    return f"pnasnet train {name}" + (f", from {first.origin}" if first else "")


def _first_network(recipe: Recipe, first: Model | None, classes: tuple[str, ...]) -> Network:
    """Return the network with its first weights. Variables that `first` lacks are random, by the recipe's seed."""
    network = initial_network(recipe)
    if first is None:
        return network
    heads = {"classifier": CLASSIFIER, **({"auxiliary head": AUXILIARY_HEAD} if network.has_aux_head else {})}
    other_classes = first.labels is not None and first.labels != classes
    names = [name for name in first.variables if not (other_classes and name.startswith(tuple(heads.values())))]
    network.load_variables({name: first.arrays()[name] for name in names})
    for words, prefix in heads.items():
        if not any(name.startswith(prefix) for name in names):
            log.info("%s has no %s for these %s classes; it starts at random", first.origin, words, len(classes))
    return network


def _prepare(
    recipe: Recipe, training: LabelledImages, validation: LabelledImages | None, folder: Path, progress: Progress
) -> dict[str, PreparedSet]:
    """Return the images of each set, and record the skipped ones in the folder."""
    known = read_skipped(folder)
    data = {"training": training, **({"validation": validation} if validation is not None else {})}
    sets = {
        name: prepare(recipe, pictures, augmented=name == "training", known=known.get(name), progress=progress)
        for name, pictures in data.items()
    }
    write_skipped(folder, {name: prepared.to_dict() for name, prepared in sets.items()})
    return sets
