"""Runs of a tiny training, and ways to stop them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pnasnet.support.progress import Progress
from pnasnet.training.fit import FitResult, fit
from pnasnet.training.machine import Machine
from pnasnet.training.recipe import Recipe
from pnasnet.training.task import initial_network

from tests.helpers.train_data import MACHINE, RECIPE, training_pictures


def run(folder: Path, recipe: Recipe = RECIPE, machine: Machine = MACHINE, **options: Any) -> FitResult:
    training = options.pop("training", None) or training_pictures()
    validation = options.pop("validation", None)
    return fit(recipe, initial_network(recipe), training, validation, folder, machine, **options)


def weights(fitted: FitResult) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in fitted.network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def stop_after(steps: int, how: Callable[[], None]) -> Progress:
    """Return a progress that calls a function after a number of steps."""
    count = 0

    def progress(stage: str, done: int, total: int | None) -> None:
        nonlocal count
        count += 1
        if count == steps:
            how()

    return progress


class StoppedError(Exception):
    """Ends a training."""


def stop() -> None:
    raise StoppedError
