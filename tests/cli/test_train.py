"""`pnasnet train`: from a recipe and folders of images to a model, interruptions, and errors."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet import Module
from pnasnet.architecture.cells import CellSpec
from pnasnet.architecture.network_file import write_network
from pnasnet.architecture.zoo import NamedNetwork
from pnasnet.errors import InputError, WeightsNotFoundError
from pnasnet.train.recipes import NAMES, find_recipe
from pnasnet.train.run import begin_from, train
from pnasnet.training.recipe import Cosine, CropAndFlip

from tests.helpers.cli_runs import error_of, run, usage_error_of
from tests.helpers.train_data import MACHINE, RECIPE, encoded, write

OPTIONS = ("--accelerator", "cpu", "-q")


def use_recipe(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let every recipe be a tiny one."""
    recipe = replace(RECIPE, **changes)
    monkeypatch.setattr("pnasnet.train.recipe_file.find_recipe", lambda name: recipe)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    use_recipe(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data/train")
    write(tmp_path / "data/test", 8)
    return tmp_path / "data"


@pytest.mark.usefixtures("recipe")
def test_from_folders_to_a_model(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = run("train", "tiny", data / "train", data / "test", "-o", output, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{output}/model.safetensors: 3 epochs, validation top-1 ")
    assert result.stdout.endswith(" s\n")
    assert result.stderr == ""
    module = Module(output / "model.safetensors")
    assert module.labels == ("lying", "standing")
    assert module.model.name == "tiny"
    assert module.model.plan.spec == RECIPE.spec
    assert sorted(path.name for path in output.iterdir()) == [
        ".lock", "checkpoints", "logs", "model.safetensors", "recipe.json", "skipped.json",
    ]  # fmt: skip


@pytest.mark.usefixtures("recipe")
def test_finished_folder_is_left_alone(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, arguments = tmp_path / "out", ("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS)
    assert "validation" not in run(*arguments).stdout
    before = (output / "model.safetensors").stat().st_mtime_ns
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout == f"{output}/model.safetensors: this training is finished; there is nothing to do\n"
    assert (output / "model.safetensors").stat().st_mtime_ns == before
    use_recipe(monkeypatch, seed=1)
    assert f"{output} holds a training with another recipe (seed: 0 → 1)" in error_of(run(*arguments))


@pytest.mark.usefixtures("recipe")
def test_a_model_of_something_else_is_no_finished_training(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"a model")
    message = error_of(run("train", "tiny", data / "train", "-o", tmp_path, *OPTIONS))
    assert message == f"{tmp_path} holds a model that `pnasnet train` did not write: choose another folder"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["model.safetensors"]


def test_a_training_starts_from_given_weights(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a learning rate near zero, the result equals the first weights; a folder remembers which they were."""
    use_recipe(monkeypatch)
    begin = ("train", "tiny", data / "train", *OPTIONS, "-o")
    first, out = tmp_path / "first", tmp_path / "out"
    assert run(*begin, first).exit_code == 0
    use_recipe(monkeypatch, schedule=Cosine(1e-9), seed=1)
    assert run(*begin, out, "--weights", first).exit_code == 0
    given, outcome = Module(first).variables, Module(out).variables
    for name in given:
        if name.endswith("weights"):
            np.testing.assert_allclose(outcome[name], given[name], atol=1e-6)
    assert "there is nothing to do" in run(*begin, out, "--weights", first).stdout
    assert f"{out} holds a training with another recipe (first_weights: " in error_of(run(*begin, out))
    assert error_of(run(*begin, out, "--weights", tmp_path / "none")).startswith(f"{tmp_path}/none does not exist")


def test_a_training_starts_from_a_published_set() -> None:
    recipe = find_recipe("pnasnet_tiny")
    begun, first = begin_from(recipe, "pnasnet_tiny")
    assert begun.first_weights == first.checksum == Module("pnasnet_tiny").model.checksum
    with pytest.raises(WeightsNotFoundError, match="pnasnet_tinny is neither"):
        begin_from(recipe, "pnasnet_tinny")


def test_weights_and_recipe_that_do_not_belong_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="starts from other weights: pass both values"):
        train(replace(RECIPE, first_weights="0" * 64), "tiny", encoded(), None, tmp_path / "out", MACHINE)
    assert not (tmp_path / "out").exists()


def test_first_weights_that_lack_variables_of_the_recipe(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_recipe(monkeypatch, spec=replace(RECIPE.spec, num_classes=3))
    shutil.copytree(data / "train", tmp_path / "three")
    shutil.copytree(data / "train/lying", tmp_path / "three/sitting")
    assert run("train", "tiny", tmp_path / "three", "-o", tmp_path / "first", *OPTIONS).exit_code == 0
    use_recipe(monkeypatch)
    begin = ("train", "tiny", data / "train", "--weights", tmp_path / "first", "--accelerator", "cpu", "-o")
    result = run(*begin, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "no classifier for these 2 classes; it starts at random" in result.stderr
    use_recipe(monkeypatch, spec=replace(RECIPE.spec, filters=2 * RECIPE.spec.filters))
    assert "does not match the network" in error_of(run(*begin, tmp_path / "wide"))


def test_first_weights_for_as_many_other_classes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_recipe(monkeypatch, schedule=Cosine(1e-9))
    begin = ("train", "tiny", data / "train", "--accelerator", "cpu", "-o")
    assert run(*begin, tmp_path / "first").exit_code == 0
    (data / "train/lying").rename(data / "train/flying")
    result = run(*begin, tmp_path / "out", "--weights", tmp_path / "first")
    assert "no classifier for these 2 classes; it starts at random" in result.stderr
    assert "no classifier" not in run(*begin, tmp_path / "again", "--weights", tmp_path / "out").stderr


@pytest.mark.usefixtures("recipe")
def test_splits_of_one_source_and_progress(data: Path, tmp_path: Path) -> None:
    (data / "test").rename(data / "val")
    options = ("--split", "train", "--validation-split", "val", "--accelerator", "cpu", "--validate-every", "2")
    result = run("train", "tiny", data, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert "validation top-1" in result.stdout
    lines = result.stderr.splitlines()
    assert "2 classes, in the order of the data" in lines
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [("top-1" in line) for line in epochs] == [False, True, True]
    assert epochs[0].startswith("epoch 1/3: loss ")


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize("options", [("--image-column", "pixels"), ()])
def test_a_column_of_another_name(tmp_path: Path, options: tuple[str, ...]) -> None:
    pq.write_table(pa.table({"photo": [b""], "label": [0]}), tmp_path / "a.parquet")
    result = run("train", "tiny", tmp_path / "a.parquet", "-o", tmp_path / "out", *options)
    if options:
        assert "has no column 'pixels': choose one of: photo, label" in error_of(result, 2)
    else:
        assert "name one with --image-column" in error_of(result)


@pytest.mark.parametrize("from_source", [False, True])
def test_images_that_cannot_be_read(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_source: bool
) -> None:
    use_recipe(monkeypatch, **({"augmentation": CropAndFlip()} if from_source else {}))
    bad = data / "train/lying/bad.png"
    bad.write_text("no")
    output = tmp_path / "out"
    result = run("train", "tiny", data / "train", "-o", output, *OPTIONS, "--workers", "0")
    assert result.exit_code == 3, result.output
    first, last = result.stderr.splitlines()
    assert first.startswith(f"skipped: {bad}: not an image of a known format")
    assert last == f"1 of 33 images cannot be read and were skipped; {output}/skipped.json lists them"
    assert list(json.loads((output / "skipped.json").read_text())["training"]["skipped"]) == [str(bad)]
    assert "model.safetensors: 3 epochs" in result.stdout


@pytest.mark.usefixtures("recipe")
def test_class_without_images_that_can_be_read(data: Path, tmp_path: Path) -> None:
    for path in (data / "train/lying").iterdir():
        path.write_text("no")
    message = error_of(run("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS))
    assert message.startswith("1 of 2 classes have no readable image ('lying'): ")


@pytest.mark.usefixtures("recipe")
def test_other_classes(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "more/x", names=("a", "b"))
    write(tmp_path / "more/x", names=("c", "d"))
    output = ("-o", tmp_path / "out", *OPTIONS)
    message = error_of(run("train", "tiny", tmp_path / "more/x", *output))
    assert message.startswith(
        "the data has 4 classes ('a', 'b', 'c', ...), the recipe 2: use a recipe file with [spec] num_classes = 4"
    )
    message = error_of(run("train", "tiny", data / "train", tmp_path / "more/x", *output))
    assert message.startswith("the validation images have 4 classes that the training images lack ('a', ")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("--precision", "float16"), 2, "unknown precision 'float16': did you mean bfloat16 or float32?"),
        (("--accelerator", "tpu"), 2, "unknown accelerator 'tpu': "),
        (("--learning-rate", "0"), 2, "--learning-rate must be more than 0, not 0"),
        (("--parts", "3"), 2, "a batch of 8 cannot be shared evenly by 3 parts: use other numbers"),
        (("--devices", "2", "--parts", "3"), 2, "a batch of 8 cannot be shared evenly by 2 devices x 3 parts"),
        (("--nodes", "3"), 2, "a batch of 8 cannot be shared evenly by 3 devices"),
        (("--parts", "8"), 2, "a batch of 8 in 8 parts has one image in each"),
        (("--split", "nope"), 2, "nope"),
    ],
)
def test_impossible_options(data: Path, tmp_path: Path, options: tuple[str, ...], exit_code: int, message: str) -> None:
    result = run("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS, *options)
    assert message in error_of(result, exit_code)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("recipe")
def test_devices_is_a_number_or_auto(data: Path, tmp_path: Path) -> None:
    arguments = ("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS, "--devices")
    for given in ("many", "0"):
        assert run(*arguments, given).exit_code == 2
    assert run(*arguments, "auto").exit_code == 0


def test_too_few_images_and_unknown_recipe(tmp_path: Path) -> None:
    data = write(tmp_path / "data", 8)
    message = error_of(run("train", "pnasnet_tiny", data, "-o", tmp_path / "out", *OPTIONS))
    assert message == "8 images do not fill a batch of 128: add images, or use a smaller batch size"
    message = usage_error_of(run("train", "pnasnet_tinny", data, "-o", tmp_path / "out", *OPTIONS))
    assert message.startswith("unknown recipe 'pnasnet_tinny': did you mean pnasnet_tiny")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("recipe")
def test_too_little_memory(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.training.memory.available_memory", lambda device: 700_000)
    message = error_of(run("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS))
    assert message.startswith("a batch of 8 needs about 0.00")
    assert message.endswith("; or recompute cells (--checkpoint-cells)")


@pytest.mark.usefixtures("recipe")
def test_full_disk_leaves_no_model(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pnasnet.weights.native._header", full)
    arguments = ("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS)
    assert "No space left on device" in error_of(run(*arguments))
    assert not (tmp_path / "out/model.safetensors").exists()
    monkeypatch.undo()
    use_recipe(monkeypatch)
    assert run(*arguments).exit_code == 0  # nothing is left to train, and the averaged weights are there
    assert (tmp_path / "out/model.safetensors").exists()


@pytest.mark.usefixtures("recipe")
def test_cell_of_a_file(data: Path, tmp_path: Path) -> None:
    cell = CellSpec.of([("conv3", 1, "max5", 0)])
    file = tmp_path / "best.json"
    write_network(file, NamedNetwork("found", replace(RECIPE.spec, cell=cell, filters=99)))
    arguments = ("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS)
    assert run(*arguments, "--cells", "3").exit_code == 2
    result = run(*arguments, "--cell", file, "--cells", "3", "--filters", "6")
    assert result.exit_code == 0, result.output
    model = Module(tmp_path / "out/model.safetensors").model
    assert model.name == "found"
    assert model.spec == replace(RECIPE.spec, cell=cell, num_cells=3, filters=6)


@pytest.mark.parametrize("missing", ["pytorch_lightning", "torch"])
def test_without_lightning(missing: str) -> None:
    code = """if True:
        import sys
        sys.modules[sys.argv[1]] = None
        from pnasnet.cli import main
        main(["train", "pnasnet_tiny", "x", "-o", "y"])
    """
    done = subprocess.run(
        [sys.executable, "-c", code, missing], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: training needs pytorch-lightning, which is not installed: pip install 'pnasnet[train]'\n"
    )


def test_list() -> None:
    result = run("train", "--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(NAMES)
    assert "PNASNet-5 (large) on ImageNet, as TF-Slim's notes give it." in result.stdout


def test_show_prints_a_recipe_that_trains_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_recipe(monkeypatch)
    shown = run("train", "--show", "tiny")
    assert shown.exit_code == 0
    (tmp_path / "mine.toml").write_text(shown.stdout)
    for name, recipe in (("by_name", "tiny"), ("by_file", tmp_path / "mine.toml")):
        assert run("train", recipe, data / "train", "-o", tmp_path / name, *OPTIONS).exit_code == 0
    one, other = (Module(tmp_path / name / "model.safetensors") for name in ("by_name", "by_file"))
    assert other.model.name == "mine"
    for name, value in one.variables.items():
        np.testing.assert_array_equal(other.variables[name], value)


def test_changes_on_the_command_line(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_recipe(monkeypatch)
    changes = ("--epochs", "2", "--batch-size", "4", "--learning-rate", "0.25", "--seed", "9")
    begin = ("train", "tiny", data / "train", "-o", tmp_path / "out", *OPTIONS)
    result = run(*begin, *changes)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out/recipe.json").read_text())
    assert (written["stages"], written["batch_size"], written["seed"]) == ([[8, 1], [16, 1]], 4, 9)
    assert written["schedule"]["peak"] == 0.25
    assert "there is nothing to do" in run(*begin, *changes).stdout
    assert f"{tmp_path}/out holds a training with another recipe" in error_of(run(*begin))


def test_recipe_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("batch_size = 'x'")
    for name, message in (("mine.toml", "batch_size must be a whole number"), ("none.py", "No such file")):
        assert message in error_of(run("train", tmp_path / name, "data", "-o", tmp_path / "out"))
    assert "unknown recipe" in usage_error_of(run("train", "--show", "tinny"))
    assert "pnasnet_tiny, a .toml or .py file" in usage_error_of(run("train", "--show", "zzz"))
