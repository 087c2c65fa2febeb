"""The recipe of a training of the whole network, and whose training a folder holds."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pnasnet import Module
from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError
from pnasnet.finetune import FinetuneOptions
from pnasnet.finetune.full import check_machine, claim, fingerprint, recipe_for, trainable
from pnasnet.training.machine import Machine
from pnasnet.training.recipe import CropAndFlip, ShiftAndFlip

from tests.helpers.finetune_data import coloured
from tests.helpers.golden_weights import drawn


@pytest.fixture(scope="module")
def module() -> Module:
    return trainable("pnasnet_tiny", None, 3, 0)


def numbered(labels: list[int]) -> LabelledImages:
    return LabelledImages([str(n) for n in range(len(labels))], np.array(labels), ("a", "b", "c"), lambda index: b"")


@pytest.mark.parametrize(
    ("count", "batch", "epochs", "decay"),
    [(8, 8, 20, 0.0), (8, 8, 21, 1 - 20 / 21), (80, 8, 4, 0.5), (80, 8, 5, 0.6), (8000, 2, 50, 0.999), (3, 8, 10, 0.0)],
)
def test_weights_are_averaged_over_a_twentieth_of_the_training(
    module: Module, count: int, batch: int, epochs: int, decay: float
) -> None:
    """From 20 steps on; over 1000 steps at most."""
    data = numbered([n % 3 for n in range(count)])
    recipe = recipe_for(module, FinetuneOptions(training_batch=batch, epochs=epochs), data)
    assert recipe.average_decay == pytest.approx(decay)
    assert recipe.batch_size == min(batch, count)
    assert recipe.stages == ((32, epochs),)


def test_the_options_are_in_the_recipe(module: Module) -> None:
    options = FinetuneOptions(learning_rate=0.25, layer_decay=0.5, seed=7, balanced=True)
    recipe = recipe_for(module, options, numbered([0, 0, 0, 1, 1, 2]))
    assert recipe.class_weights == pytest.approx((6 / 9, 1, 2))
    assert (recipe.layer_decay, recipe.seed, recipe.freeze_batch_norm) == (0.5, 7, True)
    assert recipe.schedule(0.1, 1.0) == pytest.approx(0.25)  # the end of the warm-up
    plain = recipe_for(module, FinetuneOptions(train_batch_norm=True), numbered([0, 1, 2]))
    assert plain.class_weights is None
    assert not plain.freeze_batch_norm


@pytest.mark.parametrize(("size", "augmentation"), [(64, ShiftAndFlip), (72, CropAndFlip)])
def test_small_images_are_shifted_and_others_cropped(size: int, augmentation: type) -> None:
    module = Module("pnasnet_tiny", trainable=True, tags={"train"}, image_size=(size, size))
    recipe = recipe_for(module, FinetuneOptions(), numbered([0, 1, 2]))
    assert isinstance(recipe.augmentation, augmentation)
    assert recipe.sizes[0] == size


def test_a_training_belongs_to_its_images_weights_and_settings(module: Module) -> None:
    data = coloured(2)
    contents = [data.read(index) for index in range(len(data))]
    sets = [(data, [bytes(content)[:8] for content in contents])] * 2  # type: ignore[arg-type]
    recipe = recipe_for(module, FinetuneOptions(), data)
    classifier = {"final_layer/FC/biases": np.zeros(3, np.float32)}
    own = fingerprint(module, classifier, sets, recipe, "hub", 5)
    assert own == fingerprint(module, dict(classifier), list(sets), recipe, "hub", 5)
    others = [
        fingerprint(module, {"final_layer/FC/biases": np.ones(3, np.float32)}, sets, recipe, "hub", 5),
        fingerprint(module, classifier, [(data, [b"other", *sets[0][1][1:]]), sets[1]], recipe, "hub", 5),
        fingerprint(module, classifier, sets, recipe_for(module, FinetuneOptions(seed=1), data), "hub", 5),
        fingerprint(module, classifier, sets, recipe, "slim", 5),
        fingerprint(module, classifier, sets, recipe, "hub", 6),
    ]
    assert len({own, *others}) == 6


def test_another_training_in_the_folder_is_removed_and_the_same_one_kept(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    claim(folder, "first")
    (folder / "checkpoint").write_text("mine")
    claim(folder, "first")
    assert (folder / "checkpoint").exists()
    claim(folder, "second")
    assert not (folder / "checkpoint").exists()
    claim(folder, "second")
    assert [path.read_text() for path in folder.iterdir()] == ["second"]


def test_images_are_square() -> None:
    spec = NetworkSpec(PNASNET5, 2, 8, (16, 20), 3, stem="cifar")
    with pytest.raises(InputError, match="needs square images, not 16x20: omit --full"):
        trainable(spec, drawn(spec), 3, 0)


def test_new_variables_depend_on_the_seed_alone() -> None:
    one, same, other = (trainable("pnasnet_tiny", None, 7, seed).variables for seed in (1, 1, 2))
    name = "final_layer/FC/weights"
    assert one[name].shape[-1] == 7
    np.testing.assert_array_equal(one[name], same[name])
    assert (one[name] != other[name]).any()


def test_one_machine() -> None:
    assert check_machine(Machine(nodes=1)) == 0
    with pytest.raises(InputError, match="fine-tuning runs on one machine"):
        check_machine(Machine(nodes=2))


def test_the_documented_defaults() -> None:
    """Published figures were made with them; other ones would be another recipe under the same command."""
    assert asdict(FinetuneOptions()) == {
        "validation": 0.15, "test": 0.15, "balanced": False, "seed": 0, "full": False, "epochs": 20, "patience": 5,
        "learning_rate": 0.01, "layer_decay": 0.8, "training_batch": 32, "train_batch_norm": False,
    }  # fmt: skip
