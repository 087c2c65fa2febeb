"""A whole training: from a recipe and labelled pictures to a file with weights."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..training.fit import Fitted, fit  # before the others: it says which extra is missing

# isort: split
from ..datasets import LabelledImages
from ..errors import InputError
from ..lowering.torch_network import Network
from ..module.open import Model, WeightsName, metadata, open_model
from ..training.batches import steps_per_epoch
from ..training.folder import MODEL, claim, read_skipped, write_skipped
from ..training.machine import DEFAULTS, Machine
from ..training.pictures import Prepared, Skipped, prepare
from ..training.recipe import Recipe
from ..training.task import initial_network
from ..weights import AUXILIARY_HEAD, CLASSIFIER, write_weights
from .classes import check_classes, to_logits, with_classes_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        path: the file with the averaged weights.
        fitted: the network and the figures of each epoch.
        skipped: the pictures that could not be read.
        pictures: how many there were, these among them.
        seconds: what this run took, from the first look at a picture; what an interrupted one took before is not in it.
    """

    path: Path
    fitted: Fitted
    skipped: Skipped
    pictures: int
    seconds: float

    @property
    def epochs(self) -> int:
        """How many epochs the training had."""
        return len(self.fitted.history)

    @property
    def validation_top1(self) -> float | None:
        """Share of right answers after the last epoch; None without validation pictures."""
        return self.fitted.history[-1].get("validation_top1")


def begin_from(recipe: Recipe, weights: WeightsName) -> tuple[Recipe, Model]:
    """Return the recipe as one that begins from these weights, and the weights, which were checked to be its network's.

    `weights` may also be the name of a published set. The auxiliary head may be missing, and both may be for another
    number of classes: these begin at random. So they do in `train` where they are known to be for other classes.
    Raises as `open_model`.
    """
    first = open_model(recipe.spec, weights, num_classes=recipe.spec.num_classes, training=True)
    return replace(recipe, first_weights=first.checksum), first


def finished(recipe: Recipe, folder: Path) -> Path | None:
    """Return the file with weights if the folder holds this recipe's training, and it is finished.

    Raises `InputError` where it holds another recipe's, or another model.
    """
    path = folder / MODEL
    if not path.exists():
        return None
    claim(folder, recipe)
    return path


def train(
    recipe: Recipe,
    name: str,
    training: LabelledImages,
    validation: LabelledImages | None,
    folder: Path,
    machine: Machine = DEFAULTS,
    *,
    first: Model | None = None,
    check: Callable[[], None] = lambda: None,
) -> Trained:
    """Train a recipe's network, or go on where an earlier call was ended, and write its averaged weights.

    Args:
        recipe: what decides the outcome.
        name: what the model is called.
        training: the pictures to learn from. Those that cannot be read are left out.
        validation: pictures to look at after each epoch; their classes are the training pictures', or some of them.
        folder: where everything goes: `model.safetensors` at the end and `skipped.json`; checkpoints and figures.
        machine: what it runs on.
        first: the weights to begin from, as `begin_from` returns them beside the recipe; else random ones.
        check: called after each step, and each picture that is decoded before; what it raises ends the training.

    Raises:
        InputError: `first` is not what the recipe begins from, classes that do not fit the recipe, a class without
            pictures, or without any that can be read, or as `fit`.
        OutputError: something cannot be written.
    """
    started = time.monotonic()
    assert recipe.spec.num_classes is not None  # the recipe sees to it
    if recipe.first_weights != (first.checksum if first else None):
        raise InputError("the recipe begins from other weights: take both from `begin_from`")
    steps_per_epoch(recipe, len(training))
    check_classes(training)
    if validation is not None:
        validation, _ = to_logits(with_classes_of(validation, training), recipe.spec.num_classes)
    training, note = to_logits(training, recipe.spec.num_classes)
    log.info("%s", note)
    claim(folder, recipe)
    sets = _prepare(recipe, training, validation, folder, machine.progress, check)
    seen = sets["validation"].pictures if validation is not None else None
    network = _first_network(recipe, first, training.classes)
    fitted = fit(recipe, network, sets["training"].pictures, seen, folder, machine, check=check)
    path = folder / MODEL
    if fitted.rank == 0:
        model = Model(name, fitted.network.plan, None, (), _origin(name, first), training.classes)
        write_weights(path, fitted.network.to_variables(), **metadata(model))
    skipped = {name: reason for prepared in sets.values() for name, reason in prepared.skipped.items()}
    count = sum(prepared.count for prepared in sets.values())
    return Trained(path, fitted, skipped, count, time.monotonic() - started)


def _origin(name: str, first: Model | None) -> str:
    return f"pnasnet train {name}" + (f", from {first.origin}" if first else "")


def _first_network(recipe: Recipe, first: Model | None, classes: tuple[str, ...]) -> Network:
    """Return the network as the recipe begins; what the first weights lack of it follows from the seed alone."""
    network = initial_network(recipe)
    if first is None:
        return network
    heads = {"classifier": CLASSIFIER, **({"auxiliary head": AUXILIARY_HEAD} if network.has_aux_head else {})}
    of_others = first.labels is not None and first.labels != classes
    names = [name for name in first.variables if not (of_others and name.startswith(tuple(heads.values())))]
    network.load_variables({name: first.arrays()[name] for name in names})
    for words, prefix in heads.items():
        if not any(name.startswith(prefix) for name in names):
            log.info("%s: no %s for these %s classes; it begins at random", first.origin, words, len(classes))
    return network


def _prepare(
    recipe: Recipe,
    training: LabelledImages,
    validation: LabelledImages | None,
    folder: Path,
    progress: bool,
    check: Callable[[], None],
) -> dict[str, Prepared]:
    """Return the pictures of each set, and note in the folder which were left out."""
    known = read_skipped(folder)
    data = {"training": training, **({"validation": validation} if validation is not None else {})}
    sets = {
        name: prepare(
            recipe, pictures, augmented=name == "training", known=known.get(name), progress=progress, check=check
        )
        for name, pictures in data.items()
    }
    write_skipped(folder, {name: prepared.to_dict() for name, prepared in sets.items()})
    return sets
