"""Whole trainings: they learn, and the options of the machine do not change the outcome."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pnasnet.errors import ImageError
from pnasnet.training.batches import FromSource
from pnasnet.training.fit import FitResult, fit
from pnasnet.training.recipe import Cosine, CropAndFlip, RmsProp, Sgd
from pnasnet.training.task import ClassifierTask, initial_network

from tests.helpers.cli_runs import HERE
from tests.helpers.train_data import MACHINE, RECIPE, encoded, training_pictures, validation_pictures
from tests.helpers.training_runs import assert_same, run, weights


def test_it_learns(tmp_path: Path) -> None:
    fitted = run(tmp_path, replace(RECIPE, stages=((8, 2), (16, 6))), validation=validation_pictures())
    assert fitted.history[-1]["validation_top1"] == 1
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"] / 2
    assert not fitted.network.training
    images, labels = validation_pictures().batch(np.arange(16), 16, ())
    assert torch.equal(fitted.network(images, ("Logits",))["Logits"].argmax(1), labels)


def test_figures_of_each_epoch(undisturbed: FitResult) -> None:
    assert [figures["epoch"] for figures in undisturbed.history] == [0, 1, 2]
    names = {"epoch", "loss", "learning_rate", "validation_loss", "validation_top1"}
    assert all(figures.keys() == names for figures in undisturbed.history)
    schedule = Cosine(0.05, 0.15)
    expected = [schedule((8 * epoch + 7) / 24, epoch + 7 / 8) for epoch in range(3)]
    assert [figures["learning_rate"] for figures in undisturbed.history] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("average_decay", "decay"), [(0.1, 0.1), (0.9, 2 / 11)])
def test_the_network_has_the_averaged_weights(tmp_path: Path, average_decay: float, decay: float) -> None:
    """The first average is a copy; the second step's decay is the recipe's, but 2/11 at most."""
    recipe = replace(RECIPE, stages=((16, 1),), average_decay=average_decay, schedule=Cosine(0.05))
    seen: list[Tensor] = []
    network = initial_network(recipe)
    kernel = network.get_parameter("final_layer.FC.weight")
    fitted = fit(
        recipe,
        network,
        training_pictures(16),
        None,
        tmp_path,
        MACHINE,
        progress=lambda *_: seen.append(kernel.detach().clone()),
    )
    assert len(seen) == 2
    averaged = fitted.network.get_parameter("final_layer.FC.weight")
    torch.testing.assert_close(averaged, decay * seen[0] + (1 - decay) * seen[1])
    assert not torch.equal(averaged, seen[1])
    assert fitted.network.drop_path_progress.item() == 1


def test_gradients_of_the_l2_terms_are_there_when_all_are_clipped(tmp_path: Path) -> None:
    """With terms so large, nothing else is left of the gradients."""
    spec = replace(RECIPE.spec, weight_decay=1e4)
    changes: dict[str, Any] = {"clip_norm": 1e-3, "schedule": Cosine(1e-9), "optimizer": Sgd(0.0, nesterov=False)}
    recipe = replace(RECIPE, spec=spec, stages=((16, 1),), **changes)
    network = initial_network(recipe)
    kernels = {name: value.detach().clone() for name, value in network.named_parameters() if value.ndim > 1}
    gradients: dict[str, Tensor] = {}

    def progress(stage: str, done: int, total: int | None) -> None:
        gradients.update(
            {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
        )

    fit(recipe, network, training_pictures(8), None, tmp_path, MACHINE, progress=progress)
    norm = torch.linalg.vector_norm(torch.cat([value.flatten() for value in gradients.values()]))
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    for name, kernel in kernels.items():
        assert functional.cosine_similarity(gradients[name].flatten(), kernel.flatten(), 0) > 0.999, name


def test_validation_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((8, 5),))
    fitted = run(tmp_path, recipe, replace(MACHINE, validate_every=2), validation=validation_pictures())
    assert ["validation_top1" in figures for figures in fitted.history] == [False, True, False, True, True]


def test_validation_does_not_change_the_training(tmp_path: Path, undisturbed: FitResult) -> None:
    without = run(tmp_path)
    assert_same(weights(without), weights(undisturbed))
    assert all("validation_top1" not in figures for figures in without.history)


def assert_close(one: FitResult, other: FitResult) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[name], rtol=1e-2, atol=1e-3)


def test_recomputed_cells_do_not_change_the_training(
    tmp_path: Path, undisturbed: FitResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    recomputed = []

    def counted(*arguments: Any, **options: Any) -> Any:
        recomputed.append(arguments)
        return checkpoint(*arguments, **options)

    monkeypatch.setattr("pnasnet.lowering.torch_cells.checkpoint", counted)
    other = run(tmp_path, machine=replace(MACHINE, checkpoint_cells=True))
    assert len(recomputed) >= 24 * RECIPE.spec.num_cells  # in each step, the first ones at another size
    assert_close(undisturbed, other)


def test_the_memory_format_does_not_change_the_training(tmp_path: Path, undisturbed: FitResult) -> None:
    other = run(tmp_path, machine=replace(MACHINE, channels_last=False))
    for fitted, memory_format in ((undisturbed, torch.channels_last), (other, torch.contiguous_format)):
        assert fitted.network.memory_format == memory_format
        stem = next(parameter for parameter in fitted.network.parameters() if parameter.shape[1:] == (3, 3, 3))
        assert stem.is_contiguous(memory_format=memory_format)
    assert_close(undisturbed, other)


@pytest.mark.slow
def test_it_learns_in_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set[torch.dtype]()
    cross_entropy = ClassifierTask._cross_entropy

    def noted(task: ClassifierTask, logits: Tensor, labels: Tensor) -> Tensor:
        seen.add(logits.dtype)
        return cross_entropy(task, logits, labels)

    monkeypatch.setattr(ClassifierTask, "_cross_entropy", noted)
    recipe = replace(RECIPE, stages=((16, 8),))
    fitted = run(tmp_path, recipe, replace(MACHINE, precision="bfloat16"), validation=validation_pictures())
    assert seen == {torch.bfloat16}
    assert fitted.history[-1]["validation_top1"] == 1
    assert all(value.dtype == torch.float32 for value in weights(fitted).values() if value.is_floating_point())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, on its first compilation
def test_it_learns_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[ClassifierTask] = []
    compile_network = ClassifierTask.compile_network

    def noted(task: ClassifierTask) -> None:
        compiled.append(task)
        compile_network(task)

    monkeypatch.setattr(ClassifierTask, "compile_network", noted)
    recipe = replace(RECIPE, stages=((16, 8),))
    fitted = run(tmp_path, recipe, replace(MACHINE, compile=True), validation=validation_pictures())
    assert len(compiled) == 1
    assert fitted.history[-1]["validation_top1"] == 1


def test_parts_of_a_batch_make_the_same_step(tmp_path: Path) -> None:
    """With frozen batch normalization, since each part is normalized by itself."""
    recipe = replace(RECIPE, stages=((16, 1),), freeze_batch_norm=True, spec=replace(RECIPE.spec, drop_path_keep=1.0))
    whole = run(tmp_path / "whole", recipe)
    parts = run(tmp_path / "parts", recipe, replace(MACHINE, parts=4))
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(parts)[name], rtol=1e-4, atol=1e-5)
    assert len(parts.history) == 1
    assert parts.history[0]["learning_rate"] == whole.history[0]["learning_rate"]


def test_other_optimizer_auxiliary_head_and_images_from_a_source(tmp_path: Path) -> None:
    recipe = replace(
        RECIPE,
        spec=replace(RECIPE.spec, image_size=(32, 32), reductions=2, num_cells=3, aux_head=True),
        stages=((32, 1),),
        optimizer=RmsProp(),
        augmentation=CropAndFlip(),
        label_smoothing=0.1,
    )
    machine = replace(MACHINE, workers=0)
    training, validation = FromSource(encoded(16), CropAndFlip()), FromSource(encoded(9), None)
    fitted = run(tmp_path, recipe, machine, training=training, validation=validation)
    assert fitted.network.has_aux_head
    assert np.isfinite(fitted.history[0]["loss"])
    assert (fitted.history[0]["validation_top1"] * 9) % 1 == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_images_are_decoded_by_other_processes(tmp_path: Path) -> None:
    """In a process of its own: torch forks it, and a fork of one full of other tests' threads is not safe."""
    code = "import sys; from tests.training.test_fit import decode_elsewhere; decode_elsewhere(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [HERE.parent, *sys.path]))}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


def decode_elsewhere(folder: str) -> None:
    recipe = replace(RECIPE, stages=((8, 1),), augmentation=CropAndFlip())
    source = FromSource(encoded(16), CropAndFlip())
    here, there = (run(Path(folder, str(n)), recipe, replace(MACHINE, workers=n), training=source) for n in (0, 2))
    assert_same(weights(here), weights(there))
    bad = FromSource(encoded(16, bad=(3,)), CropAndFlip())
    with pytest.raises(ImageError) as caught:
        run(Path(folder, "3"), recipe, replace(MACHINE, workers=2), training=bad)
    assert str(caught.value).startswith("3.png: not an image of a known format")
    assert "\n" not in str(caught.value)
