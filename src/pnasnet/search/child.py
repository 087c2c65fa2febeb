"""Training one child: the training room's own recipe on a proxy network, and what came of it."""

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
    """What each process does: reads the pictures once, then trains cells on them.

    Attributes:
        proxy: how.
        source: the pictures, as `open_dataset` takes them.
        split: which part of them.
        classes: how many they have.
        folder: where trainings are until they are done; one that was ended in the middle goes on from its last epoch.
            None for a folder that is forgotten.
        accelerator: as in `Machine`.
    """

    proxy: ChildSettings
    source: str
    split: str | None
    classes: int
    folder: str | None = None
    accelerator: str = "auto"

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.classes

    def prepare(self) -> Train:
        """Read and decode the pictures. Raises `InputError`."""
        import torch

        from ..training.batches import InMemory
        from ..training.pictures import decode_into_memory
        from ..training.recipe import ShiftAndFlip

        torch.set_num_threads(1)
        size = (self.proxy.image_size, self.proxy.image_size)
        parts = []
        for part in split_pictures(open_dataset(self.source, split=self.split), self.proxy):
            images, good, skipped = decode_into_memory(part, size)
            if skipped:
                name, reason = next(iter(skipped.items()))
                raise InputError(f"{name}: {reason}; a search needs pictures that can all be read: take it out")
            parts.append((images, good.labels))
        training = InMemory(*parts[0], ShiftAndFlip(shift=self.proxy.image_size // 8))
        validation = InMemory(*parts[1], None)

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
    job: ChildTrainer, cell: CellSpec, training: Any, validation: Any, folder: Path, check: Callable[[], None]
) -> Child:
    from ..training.fit import fit
    from ..training.folder import read_history
    from ..training.machine import Machine
    from ..training.task import initial_network

    recipe = job.proxy.recipe(cell, job.classes)
    machine = Machine(job.accelerator, devices=1, workers=0, validate_every=job.proxy.validate_every)
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
    curve = tuple(epoch["validation_top1"] for epoch in read_history(folder) if "validation_top1" in epoch)
    accuracy = curve[-1] if curve else job.chance
    return Child(accuracy, curve, status, error, job.proxy.seed, clock.seconds(), _machine(), 1, now())


class _Clock:
    """The seconds that a training takes, those of earlier tries included: a file keeps them, to the last few."""

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


def _machine() -> str:
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} processors"


# Pictures.


def split_pictures(data: LabelledImages, proxy: ChildSettings) -> tuple[LabelledImages, LabelledImages]:
    """Return the pictures to train on and those to measure with: of each class its share, drawn by the proxy's seed.

    Raises `InputError` for a single class, or too few pictures.
    """
    if len(data.classes) < 2:
        raise InputError(f"the data has one class ({data.classes[0]!r}): there is nothing to tell apart")
    rng = np.random.default_rng(proxy.seed)
    training, validation = [], []
    for label, count in enumerate(data.counts()):
        own = rng.permutation(np.flatnonzero(data.labels == label))
        measured = _share(proxy.validation_images, data, label)
        wanted = count - measured if proxy.images is None else _share(proxy.images, data, label)
        if wanted < 1 or measured < 1 or measured + wanted > count:
            raise InputError(
                f"class {data.classes[label]!r} has {count} pictures, too few for {measured} to measure with and "
                f"{max(wanted, 1)} to train on: lower images or validation_images"
            )
        validation.append(own[:measured])
        training.append(own[measured : measured + wanted])
    return data.take(np.sort(np.concatenate(training))), data.take(np.sort(np.concatenate(validation)))


def _share(total: int, data: LabelledImages, label: int) -> int:
    """Return how many of `total` pictures a class gets: equally many, but for what does not divide."""
    share, rest = divmod(total, len(data.classes))
    return share + (label < rest)


def describe_data(data: LabelledImages) -> dict[str, Any]:
    """Return what tells one set of pictures from another, wherever it lies: names without folders, and labels."""
    names = "\n".join(str(name).rpartition("/")[2] for name in data.names)
    digest = hashlib.sha256(names.encode("utf-8", "surrogateescape"))
    digest.update(data.labels.tobytes())
    return {"pictures": len(data), "classes": list(data.classes), "names_and_labels_sha256": digest.hexdigest()}
