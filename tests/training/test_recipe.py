"""Recipes: schedules, checks, and the values of those in the package."""

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION
from pnasnet.architecture.plan import resolve
from pnasnet.errors import InputError, SpecError, UnknownNameError
from pnasnet.train.recipes import NAMES, describe_recipe, find_recipe
from pnasnet.training.machine import Machine
from pnasnet.training.recipe import Cosine, CropAndFlip, Muon, Recipe, RmsProp, Sgd, ShiftAndFlip, Staircase

from tests.helpers.train_data import CELL, RECIPE, SPEC

IMAGENET = 1_281_167
CIFAR = 50_000


def test_cosine_rises_and_falls() -> None:
    rates = [Cosine(0.4, 0.25)(step / 1000, step / 10) for step in range(1001)]
    assert rates[0] == 0
    assert rates[125] == pytest.approx(0.2)
    assert max(rates) == rates[250] == pytest.approx(0.4)
    assert rates[625] == pytest.approx(0.2)  # half of a cosine, half-way
    assert rates[1000] == pytest.approx(0)


def test_cosine_without_warm_up_starts_at_its_peak() -> None:
    assert Cosine(0.025)(0 / 100, 0 / 10) == 0.025
    assert Cosine(0.025)(25 / 100, 25 / 10) == pytest.approx(0.025 * 0.8535534)


def test_staircase_falls_at_its_interval() -> None:
    """0.97 in every 2.4 epochs; 2.4 epochs of 800 steps are 1920."""
    rates = [Staircase(1.5)(step / 250_000, step / 800) for step in (0, 1919, 1920, 3839, 3840, 249_999)]
    assert rates == pytest.approx([1.5, 1.5, 1.455, 1.455, 1.41135, 1.5 * 0.97**130])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ()}, "stages must be pairs"),
        ({"stages": ((8, 0),)}, "stages must be pairs"),
        ({"batch_size": 1}, "batch_size=1: batch normalization needs"),
        ({"average_decay": 1.0}, r"average_decay must be in \[0, 1\), not 1.0"),
        ({"spec": replace(SPEC, num_classes=None)}, "no classifier"),
        ({"spec": replace(SPEC, image_size=(16, 8))}, "training needs square images, not 16x8"),
        ({"augmentation": ShiftAndFlip(shift=16)}, "a shift of 16 pixels does not fit images of 16x16"),
        ({"spec": replace(SPEC, aux_head=True)}, "auxiliary head needs one image size"),
        ({"class_weights": (1.0, 2.0, 0.5)}, "3 class_weights do not fit 2 classes"),
        ({"class_weights": (1.0, -2.0)}, "class_weights must be at least 0, and not all 0"),
        ({"class_weights": (0.0, 0.0)}, "class_weights must be at least 0, and not all 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), not 1.0"),
        ({"batch_norm_momentum": 1.5}, "batch_norm_momentum must be from 0 to 1, not 1.5"),
        ({"aux_weight": math.nan}, "aux_weight must be at least 0, not nan"),
        ({"clip_norm": 0.0}, "clip_norm must be more than 0, not 0.0"),
        ({"layer_decay": -1.0}, "layer_decay must be more than 0, not -1.0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": 1.5}, "seed must be a whole number, not 1.5"),
        ({"batch_size": "8"}, "batch_size must be a whole number, not '8'"),
        ({"stages": ((8, 1.5),)}, "stages must be a whole number, not 1.5"),
        ({"spec": "large"}, "spec must be a NetworkSpec, not 'large'"),
        ({"optimizer": "sgd"}, "optimizer must be a Sgd or RmsProp or Muon, not 'sgd'"),
        ({"augmentation": Sgd}, "augmentation must be a ShiftAndFlip or CropAndFlip, not <class"),
        ({"schedule": "cosine"}, r"schedule must be a Cosine, a Staircase or a dataclass .* not 'cosine'"),
        ({"schedule": Cosine}, "schedule must be a Cosine, a Staircase or a dataclass .* not <class"),
        ({"schedule": lambda share, epoch: 0.1}, "schedule must be a Cosine, a Staircase or a dataclass .* not <func"),
    ],
)
def test_contradictory_recipes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RECIPE, **changes)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Cosine, {"peak": -0.1}, "peak must be more than 0, not -0.1"),
        (Cosine, {"peak": math.inf}, "peak must be more than 0, not inf"),
        (Cosine, {"peak": "0.1"}, "peak must be a number, not '0.1'"),
        (Cosine, {"peak": 1.0, "warm_up": 1.0}, "warm_up must be a share"),
        (Staircase, {"initial": 0.0}, "initial must be more than 0, not 0.0"),
        (Staircase, {"initial": 1.0, "epochs": 0.0}, "epochs must be more than 0, not 0.0"),
        (Sgd, {"momentum": 2.0}, "momentum must be from 0 to 1, not 2.0"),
        (Sgd, {"nesterov": 1}, "nesterov must be true or false, not 1"),
        (RmsProp, {"decay": math.nan}, "decay must be from 0 to 1, not nan"),
        (RmsProp, {"epsilon": 0.0}, "epsilon must be more than 0, not 0.0"),
        (Muon, {"decay": -0.1}, "decay must be at least 0, not -0.1"),
        (ShiftAndFlip, {"cutout": -1}, "cutout must be at least 0, not -1"),
        (ShiftAndFlip, {"shift": 1.5}, "shift must be a whole number, not 1.5"),
        (CropAndFlip, {"area": (0.5, 0.1)}, "area must be two rising shares of the image"),
        (CropAndFlip, {"area": (0.5, 2.0)}, "area must be two rising shares of the image"),
        (CropAndFlip, {"ratio": (0.0, 1.0)}, "ratio must be two rising numbers above 0"),
    ],
)
def test_impossible_parts(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kind(**values)


def test_plain_values_distinguish_all_recipes() -> None:
    others = [
        replace(RECIPE, notes={"a": "b"}),
        replace(RECIPE, schedule=Staircase(0.05)),
        replace(RECIPE, optimizer=RmsProp()),
        replace(RECIPE, optimizer=Muon()),
        replace(RECIPE, augmentation=CropAndFlip()),
        replace(RECIPE, spec=replace(SPEC, filters=8)),
        replace(RECIPE, seed=1),
        replace(RECIPE, class_weights=(1.0, 2.0)),
    ]
    plain = [json.dumps(recipe.to_dict()) for recipe in (RECIPE, *others)]
    assert plain[0] == plain[1]
    assert len(set(plain)) == 8
    assert "class_weights" not in plain[0]  # folders from before there were any are still of the same recipe


def test_machine_rejects_unknown_values() -> None:
    with pytest.raises(UnknownNameError, match="unknown precision 'float16': did you mean bfloat16"):
        Machine(precision="float16")
    with pytest.raises(UnknownNameError, match="unknown accelerator 'gpus'"):
        Machine(accelerator="gpus")
    with pytest.raises(InputError, match="devices must be a number from 1 up, or 'auto', not True"):
        Machine(devices=True)
    for field, value in (("nodes", 0), ("parts", 0), ("validate_every", 0), ("devices", "all"), ("workers", -1)):
        with pytest.raises(InputError, match=field):
            Machine(**{field: value})  # type: ignore[arg-type]


def test_machine_divides_processors_among_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.training.machine.processors", lambda: 16)
    assert [Machine().workers_for(devices) for devices in (1, 3, 32)] == [16, 5, 1]
    assert Machine(workers=0).workers_for(2) == 0


# The recipes that come with the package.


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_can_be_built_and_is_documented(name: str) -> None:
    recipe = find_recipe(name)
    for size in dict(recipe.stages):
        resolve(replace(recipe.spec, image_size=(size, size)))
    text = describe_recipe(name)
    assert f"pnasnet train {name} " in text

    assert all(f"{field}:" in text for field in ("Command", "Data", "Hardware", "Result"))


def test_unknown_recipe() -> None:
    with pytest.raises(UnknownNameError, match="unknown recipe 'imagenet_larg': did you mean imagenet_large"):
        find_recipe("imagenet_larg")


def steps(recipe: Recipe, pictures: int) -> int:
    return pictures // recipe.batch_size * len(recipe.sizes)


@pytest.mark.parametrize(
    ("name", "rate", "keep", "filters", "cells", "stem", "size"),
    [("imagenet_large", 1.5, 0.6, 216, 12, 3.0, 331), ("imagenet_mobile", 2.0, 1.0, 54, 9, 1.0, 224)],
)
def test_imagenet_as_in_the_notes_of_tf_slim(
    name: str, rate: float, keep: float, filters: int, cells: int, stem: float, size: int
) -> None:
    recipe, spec = find_recipe(name), find_recipe(name).spec
    assert recipe.batch_size == 1600
    assert isinstance(recipe.schedule, Staircase)
    assert recipe.schedule.initial == pytest.approx(rate)
    assert (recipe.schedule.factor, recipe.schedule.epochs) == (0.97, 2.4)
    assert steps(recipe, IMAGENET) == pytest.approx(250_000, rel=0.002)  # whole batches of whole epochs
    assert (recipe.aux_weight, recipe.label_smoothing, recipe.clip_norm) == (0.4, 0.1, 10)
    assert (spec.weight_decay, recipe.batch_norm_momentum, spec.epsilon) == (4e-5, 0.9997, 1e-3)
    assert (spec.drop_path_keep, spec.dropout_keep) == (keep, 0.5)
    assert (spec.num_cells, spec.filters, spec.stem_multiplier) == (cells, filters, stem)
    assert (spec.num_classes, recipe.stages[0][0]) == (1001, size)
    assert recipe.optimizer == RmsProp(decay=0.9, momentum=0.9, epsilon=1.0)
    assert recipe.average_decay == 0.9999
    assert recipe.drop_path_rises
    assert spec.aux_head


def test_cifar_as_in_the_notes_of_tf_slim() -> None:
    recipe, spec = find_recipe("cifar10"), find_recipe("cifar10").spec
    assert recipe.batch_size == 32
    assert recipe.schedule == Cosine(0.025, 0.0)
    assert len(recipe.sizes) == 600
    assert steps(recipe, CIFAR) == pytest.approx(937_500, rel=0.001)
    assert (recipe.aux_weight, recipe.label_smoothing, recipe.clip_norm) == (0.4, 0.0, 5)
    assert (spec.weight_decay, recipe.batch_norm_momentum, spec.epsilon) == (5e-4, 0.9, 1e-5)
    assert (spec.drop_path_keep, spec.dropout_keep) == (0.6, 1.0)
    assert (spec.num_cells, spec.filters) == (9, 48)  # of the paper: N = 3, F = 48
    assert recipe.optimizer == Sgd(momentum=0.9, nesterov=True)
    assert recipe.augmentation == ShiftAndFlip(shift=4)


# Changes.


@pytest.mark.parametrize(
    ("stages", "epochs", "expected"),
    [
        (((24, 12), (32, 16)), 28, ((24, 12), (32, 16))),
        (((24, 12), (32, 16)), 7, ((24, 3), (32, 4))),
        (((24, 12), (32, 16)), 2, ((24, 1), (32, 1))),
        (((24, 1), (32, 99)), 10, ((24, 1), (32, 9))),
        (((24, 99), (32, 1)), 10, ((24, 9), (32, 1))),
        (((8, 1), (9, 1), (10, 98)), 4, ((8, 1), (9, 1), (10, 2))),
        (((32, 600),), 5, ((32, 5),)),
    ],
)
def test_epochs_are_divided_among_the_stages(
    stages: tuple[tuple[int, int], ...], epochs: int, expected: tuple[tuple[int, int], ...]
) -> None:
    changed = replace(RECIPE, stages=stages).changed(epochs=epochs)
    assert changed.stages == expected
    assert replace(changed, stages=stages) == replace(RECIPE, stages=stages)


def test_other_changes() -> None:
    assert RECIPE.changed() == RECIPE
    assert RECIPE.changed(batch_size=4, seed=0, learning_rate=0.5) == replace(
        RECIPE, batch_size=4, seed=0, schedule=Cosine(0.5, 0.15)
    )
    stairs = replace(RECIPE, schedule=Staircase(1.0, 0.5, 3.0))
    assert stairs.changed(learning_rate=2.0).schedule == Staircase(2.0, 0.5, 3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 1}, "1 epochs are too few for the recipe's 2 stages"),
        ({"learning_rate": 0.0}, "learning_rate must be more than 0, not 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be more than 0, not nan"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, not 'fast'"),
        ({"epochs": 2.5}, "epochs must be a whole number, not 2.5"),
        ({"seed": "1"}, "seed must be a whole number, not '1'"),
    ],
)
def test_impossible_changes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RECIPE.changed(**changes)


@pytest.mark.parametrize("num_cells", [None, 3])
@pytest.mark.parametrize("filters", [None, 8])
def test_another_cell_also_reduces(num_cells: int | None, filters: int | None) -> None:
    spec = replace(SPEC, cell=NASNET_A_NORMAL, reduction_cell=NASNET_A_REDUCTION, skip_reduction_input=False)
    changed = replace(RECIPE, spec=spec).with_cell(CELL, num_cells, filters)
    expected = replace(SPEC, num_cells=num_cells or 2, filters=filters or 4, skip_reduction_input=True)
    assert changed == replace(RECIPE, spec=expected)


@pytest.mark.parametrize("size", [{"num_cells": 0}, {"filters": 0}])
def test_another_cells_network_cannot_be_empty(size: dict[str, int]) -> None:
    (name,) = size
    with pytest.raises(SpecError, match=f"{name} must be from 1 to"):
        RECIPE.with_cell(CELL, **size)


@dataclass(frozen=True)
class Constant:
    rate: float

    def __call__(self, share: float, epoch: float) -> float:
        return self.rate


def test_a_schedule_of_ones_own() -> None:
    recipe = replace(RECIPE, schedule=Constant(0.5))
    assert json.loads(json.dumps(recipe.to_dict()))["schedule"] == {"rate": 0.5}
    with pytest.raises(InputError, match="a Constant has no learning rate to set: change the recipe"):
        recipe.changed(learning_rate=1.0)
