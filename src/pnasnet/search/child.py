"""Trains children: small networks, by the loop of `training`."""

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..architecture.cells import CellSpec
from ..datasets import LabelledImages, open_dataset
from ..errors import DivergedError, InputError
from ..support.files import replacing
from .config import ChildSettings
from .evaluator import Train, now
from .journal import Child, Status


@dataclass(frozen=True)
class ChildTrainer:
    """Decodes the images once per process, then trains cells on them.

    Attributes:
        child: the network, and how it is trained.
        source: the images, as for `open_dataset`.
        split: their split; None for all.
        classes: number of classes.
        folder: folder of unfinished trainings, which resume from their last epoch; None to resume none.
        accelerator: as in `Machine`.
    """

    child: ChildSettings
    source: str
    split: str | None
    classes: int
    folder: str | None = None
    accelerator: str = "auto"

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in [0, 1]."""
        return 1 / self.classes

    def prepare(self) -> Train:
        """Decode the images, and return a function that trains cells on them. Raises `InputError`."""
        import torch

        from ..training.batches import Examples, InMemory
        from ..training.pictures import decode_into_memory
        from ..training.recipe import ShiftAndFlip
        from .augment import Whitened, enlarged

        torch.set_num_threads(1)
        size = self.child.image_size
        whitens = self.child.augmentation == "crop-and-whiten"
        sizes = (enlarged(size) if whitens else size, size)
        parts = []
        for part, side in zip(
            split_images(open_dataset(self.source, split=self.split), self.child), sizes, strict=True
        ):
            images, good, skipped = decode_into_memory(part, (side, side))
            if skipped:
                name, reason = next(iter(skipped.items()))
                raise InputError(f"{name}: {reason}; a search needs readable images only: remove it")
            parts.append((images, good.labels))
        training: Examples
        validation: Examples
        if whitens:
            training, validation = Whitened(*parts[0], size), Whitened(*parts[1], None)
        else:
            training, validation = InMemory(*parts[0], ShiftAndFlip(shift=size // 8)), InMemory(*parts[1], None)

        def train(cell: CellSpec, check: Callable[[], None]) -> Child:
            if self.folder is not None:
                return _train(self, cell, training, validation, self._folder_of(cell, self.folder), check)
            with tempfile.TemporaryDirectory() as name:
                return _train(self, cell, training, validation, Path(name), check)

        return train

    def forget(self, cell: CellSpec) -> None:
        """Remove the folder of a cell's training."""
        if self.folder is not None:
            shutil.rmtree(self._folder_of(cell, self.folder), ignore_errors=True)

    def _folder_of(self, cell: CellSpec, parent: str) -> Path:
        digest = hashlib.sha256(json.dumps(cell.canonical().to_dict()).encode()).hexdigest()
        return Path(parent) / digest[:16]


def _train(
    trainer: ChildTrainer, cell: CellSpec, training: Any, validation: Any, folder: Path, check: Callable[[], None]
) -> Child:
    from ..training.fit import fit
    from ..training.folder import read_history
    from ..training.machine import Machine
    from ..training.task import initial_network

    recipe = trainer.child.recipe(cell, trainer.classes)
    machine = Machine(trainer.accelerator, devices=1, workers=0, validate_every=trainer.child.validate_every)
    clock = _Clock(folder / "seconds")
    status: Status = "ok"
    error = ""

    def keep_time() -> None:
        clock.keep()
        check()

    try:
        fit(recipe, initial_network(recipe), training, validation, folder, machine, progress=lambda *_: keep_time())
    except DivergedError as caught:
        status, error = "diverged", str(caught)
    machine_name = f"{platform.node()}, {platform.machine()}, {os.cpu_count()} processors"
    curve = tuple(epoch["validation_top1"] for epoch in read_history(folder) if "validation_top1" in epoch)
    accuracy = curve[-1] if curve else trainer.chance
    return Child(accuracy, curve, status, error, trainer.child.seed, clock.seconds(), machine_name, 1, now())


class _Clock:
    """Counts the seconds of a training over all attempts. A file stores them every few seconds."""

    _EACH = 5.0

    def __init__(self, path: Path) -> None:
        self._path, self._started = path, time.monotonic()
        self._kept = self._before = float(path.read_text()) if path.exists() else 0.0

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def keep(self) -> None:
        if self.seconds() - self._kept >= self._EACH:
            self._kept = self.seconds()
            with replacing(self._path) as temporary:
                temporary.write_text(str(self._kept))


# Images.


def split_images(data: LabelledImages, child: ChildSettings) -> tuple[LabelledImages, LabelledImages]:
    """Return training and validation images, drawn by the child's seed, with equally many of each class.

    If `child.images` is None, all images that are not for validation are for training.

    Raises `InputError` for a single class, fewer images than classes, or too few images of a class.
    """
    if len(data.classes) < 2:
        raise InputError(f"the data has one class ({data.classes[0]!r}): a search needs at least two")
    for name, total in (("images", child.images), ("validation_images", child.validation_images)):
        if total is not None and total < len(data.classes):
            raise InputError(
                f"{name} is {total}, but the data has {len(data.classes)} classes: use one of each or more"
            )
    rng = np.random.default_rng(child.seed)
    training, validation = [], []
    for label, count in enumerate(data.counts()):
        own = rng.permutation(np.flatnonzero(data.labels == label))
        measured = _share(child.validation_images, data, label)
        wanted = count - measured if child.images is None else _share(child.images, data, label)
        if wanted < 1 or measured + wanted > count:
            raise InputError(
                f"class {data.classes[label]!r} has {count} images, too few for {measured} validation images and "
                f"{max(wanted, 1)} training images: lower `images` or `validation_images`"
            )
        validation.append(own[:measured])
        training.append(own[measured : measured + wanted])
    return data.take(np.sort(np.concatenate(training))), data.take(np.sort(np.concatenate(validation)))


def _share(total: int, data: LabelledImages, label: int) -> int:
    """Return a class's share of `total` images: all are equal, but the first classes share the remainder."""
    share, rest = divmod(total, len(data.classes))
    return share + (label < rest)


def describe_data(data: LabelledImages) -> dict[str, Any]:
    """Return an identity of the images that does not depend on their folder: from file names and labels."""
    names = "\n".join(str(name).rpartition("/")[2] for name in data.names)
    digest = hashlib.sha256(names.encode("utf-8", "surrogateescape"))
    digest.update(data.labels.tobytes())
    return {"pictures": len(data), "classes": list(data.classes), "names_and_labels_sha256": digest.hexdigest()}
