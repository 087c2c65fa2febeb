"""Recipe files in TOML and Python: omitted fields, and errors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pnasnet.errors import InputError, UnknownNameError
from pnasnet.train.recipe_file import from_toml, open_recipe, to_toml
from pnasnet.train.recipes import NAMES, find_recipe
from pnasnet.training.recipe import Cosine, CropAndFlip, Muon, Recipe, RmsProp, Sgd, ShiftAndFlip, Staircase

from tests.helpers.train_data import RECIPE

SHORT = find_recipe("cifar10_short")


def read(text: str) -> Recipe:
    return from_toml(text.encode(), "mine.toml")


@pytest.mark.parametrize("name", NAMES)
def test_printed_recipe_is_the_same_recipe(name: str) -> None:
    recipe = find_recipe(name)
    assert read(to_toml(recipe)) == recipe
    assert read(to_toml(recipe)).to_dict() == recipe.to_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_norm": None, "class_weights": (1.0, 0.25), "seed": 7, "first_weights": "0" * 64},
        {"schedule": Staircase(0.25, 0.5, 1.5), "optimizer": RmsProp(0.5), "augmentation": CropAndFlip((0.5, 1.0))},
        {"optimizer": Muon(), "freeze_batch_norm": True, "drop_path_rises": False},
        {"notes": {"by": 'a "quoted"\\ name\n\x1b', "two words": "\u202e"}},
        {"spec": replace(RECIPE.spec, reduction_cell=RECIPE.spec.cell, epsilon=1e-5)},
    ],
)
def test_every_field_survives(changes: dict[str, Any]) -> None:
    recipe = replace(RECIPE, **changes)
    assert read(to_toml(recipe)) == recipe


def test_file_names_only_what_differs_from_its_base() -> None:
    recipe = read("""
        base = "cifar10_short"
        stages = [[16, 2], [32, 5]]
        [spec]
        num_classes = 3
        [schedule]
        peak = 0.05
    """)
    spec = replace(SHORT.spec, num_classes=3)
    assert recipe == replace(SHORT, spec=spec, stages=((16, 2), (32, 5)), schedule=Cosine(0.05, 0.3))


def test_another_kind_inherits_nothing() -> None:
    recipe = read('base = "cifar10_short"\n[schedule]\nkind = "Staircase"\ninitial = 1\n[optimizer]\nkind = "Sgd"')
    assert recipe.schedule == Staircase(1.0)
    assert recipe.optimizer == SHORT.optimizer == Sgd()
    assert recipe.augmentation == SHORT.augmentation == ShiftAndFlip()


def test_recipe_of_its_own_has_the_defaults() -> None:
    cell = '{ blocks = [["sep3", 0, "max3", 1]], concat = [2] }'
    recipe = read(f"""
        stages = [[16, 3]]
        batch_size = 8
        schedule = {{ kind = "Cosine", peak = 1 }}
        [spec]
        cell = {cell}
        num_cells = 2
        filters = 8
        image_size = [16, 16]
        num_classes = 2
        stem = "cifar"
    """)
    assert recipe == Recipe(recipe.spec, ((16, 3),), 8, Cosine(1.0))
    assert recipe.spec.cell.blocks == (("sep3", 0, "max3", 1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base = ", "is not a TOML file: "),
        ("a" * 10 + "=" + "[" * 100_000, "is not a TOML file: "),
        ('base = "cifar10_shor"', "unknown base 'cifar10_shor': did you mean cifar10_short"),
        ("base = 3", "unknown base '3'"),
        (
            "batch_size = 8",
            "the recipe lacks spec, stages, schedule: add what is missing, or inherit it with base = NAME",
        ),
        ('base = "cifar10"\nbatchsize = 8', "unknown setting 'batchsize': did you mean batch_size?"),
        ('base = "cifar10"\n[schedule]\npeek = 8', "unknown setting 'schedule.peek': did you mean schedule.peak"),
        ('base = "cifar10"\n[spec]\ncells = 8', "a network has no field cells"),
        ('base = "cifar10"\nbatch_size = "8"', "batch_size must be a whole number, not '8'"),
        ('base = "cifar10"\nbatch_size = 8.0', "batch_size must be a whole number, not 8.0"),
        ('base = "cifar10"\nbatch_size = true', "batch_size must be a whole number, not True"),
        ('base = "cifar10"\nfreeze_batch_norm = 1', "freeze_batch_norm must be true or false, not 1"),
        ('base = "cifar10"\nlabel_smoothing = "x"', "label_smoothing must be a number, not 'x'"),
        ('base = "cifar10"\nstages = [[32, 1.5]]', "stages must be a whole number, not 1.5"),
        ('base = "cifar10"\nstages = [32, 1]', "stages must be a list of 2 values, not 32"),
        ('base = "cifar10"\nstages = [[32, 1, 2]]', r"stages must be a list of 2 values, not [32, 1, 2]"),
        ('base = "cifar10"\nclass_weights = 3', "class_weights must be a list, not 3"),
        ('base = "cifar10"\nspek = 3', "unknown setting 'spek': did you mean spec"),
        ("spek = 3", "unknown setting 'spek': did you mean spec"),
        (f'base = "cifar10"\nseed = {10**30}', "seed is too large: use at most 9,007,199,254,740,992"),
        (f'base = "cifar10"\nlabel_smoothing = {10**400}', "label_smoothing is too large"),
        ('base = "cifar10"\nstages = []', "stages must be pairs of image size and epochs"),
        ('base = "cifar10"\nschedule = "Cosine"', "schedule must be a table: write its fields below [schedule]"),
        ('base = "cifar10"\n[schedule]\npeak = nan', "peak must be more than 0, not nan"),
        ('base = "cifar10"\n[optimizer]\nmomentum = 2', "momentum must be from 0 to 1, not 2.0"),
        ('base = "cifar10"\nlabel_smoothing = 2', "label_smoothing must be in [0, 1), not 2.0"),
        ('base = "cifar10"\nnotes = [1]', "notes must be a table, not [1]"),
        (
            'base = "cifar10"\n[optimizer]\nkind = "Adam"',
            "optimizer.kind must be one of Sgd, RmsProp, Muon, ",
        ),
        (
            'base = "cifar10"\n[schedule]\nkind = "Staircase"',
            "schedule lacks initial, which Staircase needs",
        ),
        (
            'base = "cifar10"\n[schedule]\nkind = ["Cosine"]',
            "schedule.kind must be one of Cosine, Staircase, not ['Cosine']",
        ),
        ('base = "cifar10"\n[schedule]\nkind = "Staircase"\ninitail = 1', "unknown setting 'schedule.initail'"),
        ('base = "cifar10"\n[spec]\nfilters = 1e30', "filters must be a whole number, not 1e+30"),
    ],
)
def test_errors_in_a_file_are_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert str(caught.value).startswith("mine.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recipe_of_a_python_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from pnasnet.train.recipes import find_recipe\n"
        "RECIPE = replace(find_recipe('cifar10_short'), seed=5)\n"
    )
    assert open_recipe(str(path)) == replace(SHORT, seed=5)
    for text, message in (
        ("x = 1", "does not define RECIPE"),
        ("1 / 0", "fails: ZeroDivisionError: division by zero"),
        ("RECIPE = ", "fails: SyntaxError: invalid syntax"),
        ("raise SystemExit('stop')", "fails: SystemExit: stop"),
        (
            "from pnasnet.training.recipe import Cosine\nRECIPE = Cosine(-1)",
            "fails: InputError: peak must be more than 0",
        ),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=f"mine.py {message}"):
            open_recipe(str(path))


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    for name in ("none.toml", "none.py"):
        with pytest.raises(InputError, match=f"cannot read .*{name}: No such file or directory"):
            open_recipe(str(tmp_path / name))
    (tmp_path / "cifar10").write_text("")  # files are recipes by their suffix alone
    assert open_recipe("cifar10") == find_recipe("cifar10")
    with pytest.raises(UnknownNameError, match="unknown recipe 'cifar11': did you mean cifar10"):
        open_recipe("cifar11")
