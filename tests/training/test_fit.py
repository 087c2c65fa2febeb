"""Whole trainings: they learn, go on after a kill as if nothing had happened, and say in a line what is wrong."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pnasnet.errors import ImageError, InputError, OutputError
from pnasnet.training.batches import Batch, FromSource, InMemory
from pnasnet.training.fit import Fitted, fit
from pnasnet.training.folder import newest, read_history
from pnasnet.training.machine import Machine
from pnasnet.training.recipe import Cosine, CropAndFlip, Muon, Progress, Recipe, RmsProp, Sgd
from pnasnet.training.task import ClassifierTask, initial_network

from tests.helpers.disks import small_disk_at
from tests.helpers.train_data import MACHINE, RECIPE, encoded, stripes, training_pictures, validation_pictures


@dataclass(frozen=True)
class LastStep:
    """A schedule that learns nothing but in the very last step."""

    rate: float

    def __call__(self, progress: Progress) -> float:
        return self.rate if progress.step == progress.total_steps - 1 else 0.0


def run(folder: Path, recipe: Recipe = RECIPE, machine: Machine = MACHINE, **options: Any) -> Fitted:
    training = options.pop("training", None) or training_pictures()
    validation = options.pop("validation", None)
    return fit(recipe, initial_network(recipe), training, validation, folder, machine, **options)


def weights(fitted: Fitted) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in fitted.network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return run(tmp_path_factory.mktemp("whole"), validation=validation_pictures())


def stop_after(steps: int, how: Callable[[], None]) -> Callable[[], None]:
    """Return a check that does something after so many steps."""
    count = 0

    def check() -> None:
        nonlocal count
        count += 1
        if count == steps:
            how()

    return check


class StoppedError(Exception):
    """What a test ends a training with."""


def stop() -> None:
    raise StoppedError


def test_it_learns(tmp_path: Path) -> None:
    fitted = run(tmp_path, replace(RECIPE, stages=((8, 2), (16, 6))), validation=validation_pictures())
    assert fitted.history[-1]["validation_top1"] == 1
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"] / 2
    assert not fitted.network.training
    images, labels = validation_pictures().batch(np.arange(16), 16, ())
    assert torch.equal(fitted.network(images, ("Logits",))["Logits"].argmax(1), labels)


def test_figures_of_each_epoch(undisturbed: Fitted) -> None:
    assert [figures["epoch"] for figures in undisturbed.history] == [0, 1, 2]
    names = {"epoch", "loss", "learning_rate", "validation_loss", "validation_top1"}
    assert all(figures.keys() == names for figures in undisturbed.history)
    schedule = Cosine(0.05, 0.15)
    expected = [schedule(Progress(8 * epoch + 7, 8, 24)) for epoch in range(3)]
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
        check=lambda: seen.append(kernel.detach().clone()),
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

    def check() -> None:
        gradients.update(
            {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
        )

    fit(recipe, network, training_pictures(8), None, tmp_path, MACHINE, check=check)
    norm = torch.linalg.vector_norm(torch.cat([value.flatten() for value in gradients.values()]))
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    for name, kernel in kernels.items():
        assert functional.cosine_similarity(gradients[name].flatten(), kernel.flatten(), 0) > 0.999, name


@pytest.mark.parametrize("steps", [3, 8, 12, 20])
def test_a_run_that_was_stopped_ends_as_an_undisturbed_one(tmp_path: Path, undisturbed: Fitted, steps: int) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path, validation=validation_pictures(), check=stop_after(steps, stop))
    resumed = run(tmp_path, validation=validation_pictures())
    assert_same(weights(resumed), weights(undisturbed))
    assert resumed.history == undisturbed.history


def test_a_finished_training_gives_the_same_weights_again(tmp_path: Path, undisturbed: Fitted) -> None:
    """Killed between the last checkpoint and the file with weights, there is nothing left to train."""
    run(tmp_path, validation=validation_pictures())
    again = run(tmp_path, validation=validation_pictures(), check=lambda: pytest.fail("was trained again"))
    assert_same(weights(again), weights(undisturbed))
    assert again.history == undisturbed.history


_KILLED = """if True:
    import os, signal, sys
    from pathlib import Path
    from test_train_fit import run, stop_after, validation_pictures
    run(Path(sys.argv[1]), validation=validation_pictures(),
        check=stop_after(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)))
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch(tmp_path: Path, undisturbed: Fitted) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), "15"]  # 8 steps, 2 batches of validation, 5 steps
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parents[2], *sys.path]))}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert newest(tmp_path) == tmp_path / "checkpoints/newest-epoch=0.ckpt"
    assert [figures["epoch"] for figures in read_history(tmp_path)] == [0]
    resumed = run(tmp_path, validation=validation_pictures())
    assert_same(weights(resumed), weights(undisturbed))
    assert resumed.history == undisturbed.history


def test_an_epoch_that_is_saved_has_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = pl.Trainer.save_checkpoint

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        raise KeyError("killed")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", save_and_die)
    with pytest.raises(KeyError, match="killed"):
        run(tmp_path, validation=validation_pictures())
    (epoch,) = read_history(tmp_path)
    assert epoch.keys() == {"epoch", "loss", "learning_rate", "validation_loss", "validation_top1"}


def test_interrupt_leaves_the_keyboard_to_others(tmp_path: Path, undisturbed: Fitted) -> None:
    """Lightning answers Ctrl-C with exit code 1, and has the process ignore all that follow.

    What Python does on Ctrl-C is called, and no signal sent: after OpenVINO has run in the same process, there may be
    no stack to deliver it on. `test_cli_train.py` sends it to a process of its own.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path,
            validation=validation_pictures(),
            check=stop_after(12, lambda: signal.default_int_handler(signal.SIGINT, None)),
        )
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert_same(weights(run(tmp_path, validation=validation_pictures())), weights(undisturbed))


def test_termination_that_nobody_asked_about_is_no_success(tmp_path: Path, undisturbed: Fitted) -> None:
    """Lightning answers SIGTERM with an exit that has no code, which a shell would take for success."""

    def end() -> None:
        raise SIGTERMException

    with pytest.raises(SystemExit) as caught:
        run(tmp_path, validation=validation_pictures(), check=stop_after(12, end))
    assert caught.value.code == 128 + signal.SIGTERM
    assert_same(weights(run(tmp_path, validation=validation_pictures())), weights(undisturbed))


def test_validation_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((8, 5),))
    fitted = run(tmp_path, recipe, replace(MACHINE, validate_every=2), validation=validation_pictures())
    assert ["validation_top1" in figures for figures in fitted.history] == [False, True, False, True, True]


def test_validation_does_not_change_the_training(tmp_path: Path, undisturbed: Fitted) -> None:
    without = run(tmp_path)
    assert_same(weights(without), weights(undisturbed))
    assert all("validation_top1" not in figures for figures in without.history)


def assert_close(one: Fitted, other: Fitted) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[name], rtol=1e-2, atol=1e-3)


def test_recomputed_cells_do_not_change_the_training(
    tmp_path: Path, undisturbed: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    recomputed = []

    def counted(*arguments: Any, **options: Any) -> Any:
        recomputed.append(arguments)
        return checkpoint(*arguments, **options)

    monkeypatch.setattr("pnasnet.lowering.torch_cells.checkpoint", counted)
    other = run(tmp_path, machine=replace(MACHINE, checkpoint_cells=True))
    assert len(recomputed) >= 24 * RECIPE.spec.num_cells  # in each step, the first ones at another size
    assert_close(undisturbed, other)


def test_where_channels_lie_does_not_change_the_training(tmp_path: Path, undisturbed: Fitted) -> None:
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


def test_other_optimizer_auxiliary_head_and_pictures_from_a_source(tmp_path: Path) -> None:
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


def test_muon_learns_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((8, 1), (16, 4)), optimizer=Muon())
    whole = run(tmp_path / "whole", recipe, validation=validation_pictures())
    assert whole.history[-1]["validation_top1"] == 1
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", recipe, check=stop_after(20, stop))
    assert_same(weights(run(tmp_path / "stopped", recipe)), weights(whole))


@pytest.mark.slow
def test_pictures_are_decoded_by_other_processes(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((8, 1),), augmentation=CropAndFlip())
    here = run(tmp_path / "0", recipe, replace(MACHINE, workers=0), training=FromSource(encoded(16), CropAndFlip()))
    there = run(tmp_path / "2", recipe, replace(MACHINE, workers=2), training=FromSource(encoded(16), CropAndFlip()))
    assert_same(weights(here), weights(there))
    bad = FromSource(encoded(16, bad=(3,)), CropAndFlip())
    with pytest.raises(ImageError) as caught:
        run(tmp_path / "3", recipe, replace(MACHINE, workers=2), training=bad)
    assert str(caught.value).startswith("3.png: not a JPEG")
    assert "\n" not in str(caught.value)


# Ending early.


class Worsening(InMemory):
    """Validation pictures whose labels are swapped after a number of looks."""

    def after(self, good: int) -> "Worsening":
        object.__setattr__(self, "left", 2 * good)  # two batches each
        return self

    def batch(self, indices: NDArray[np.int64], size: int, seed: Any, share: slice = slice(None)) -> Batch:
        images, labels = super().batch(indices, size, seed, share)
        left: int = self.__dict__["left"]
        object.__setattr__(self, "left", left - 1)
        return images, labels if left > 0 else 1 - labels


def test_early_end_keeps_the_best_epoch(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((16, 12),), schedule=Cosine(0.05))
    images, labels = stripes(16)
    fitted = run(tmp_path, recipe, validation=Worsening(images, labels, None).after(4), patience=2)
    losses = [figures["validation_loss"] for figures in fitted.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 12  # two epochs without improvement
    with pytest.raises(StoppedError):
        run(tmp_path / "again", recipe, check=stop_after(8 * (best + 1) + 1, stop))
    state = torch.load(newest(tmp_path / "again") or "", weights_only=True)["state_dict"]
    assert_same({f"network.{name}": value for name, value in weights(fitted).items()}, state)
    again = run(tmp_path, recipe, validation=validation_pictures(), patience=2, check=lambda: pytest.fail("trained"))
    assert_same(weights(again), weights(fitted))


def test_early_end_goes_on_counting_after_a_stop(tmp_path: Path) -> None:
    """Stopped in the third of four epochs that are worse than the first, it ends where it would have ended anyway."""
    recipe = replace(RECIPE, stages=((16, 12),), schedule=Cosine(0.05))
    images, labels = stripes(16)
    swapped = InMemory(images, 1 - labels, None)  # the more is learnt, the worse
    whole = run(tmp_path / "whole", recipe, validation=swapped, patience=4)
    with pytest.raises(StoppedError):
        run(
            tmp_path / "two",
            recipe,
            validation=swapped,
            patience=4,
            check=stop_after(8 * (len(whole.history) - 2), stop),
        )
    resumed = run(tmp_path / "two", recipe, validation=swapped, patience=4)
    assert len(resumed.history) == len(whole.history) < 12
    assert_same(weights(resumed), weights(whole))


# What goes wrong.


def test_a_loss_that_explodes_ends_the_run_before_it_is_saved(tmp_path: Path) -> None:
    recipe = replace(RECIPE, schedule=Cosine(1e30), clip_norm=None)
    with pytest.raises(InputError, match=r"the loss became (nan|inf) in step \d+: lower the learning rate"):
        run(tmp_path, recipe)
    assert newest(tmp_path) is None


def test_a_loss_that_explodes_where_not_each_step_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU."""
    monkeypatch.setattr("pnasnet.training.task.ClassifierTask._check", lambda task, loss: None)
    with pytest.raises(InputError, match="the loss became nan in epoch 1: lower the learning rate"):
        run(tmp_path, replace(RECIPE, schedule=Cosine(1e30), clip_norm=None))
    assert newest(tmp_path) is None


def test_an_update_that_explodes_in_the_last_step_is_not_saved(tmp_path: Path) -> None:
    """No loss tells of it; without pictures to validate only the weights do."""
    recipe = replace(RECIPE, stages=((16, 1),))
    network = initial_network(recipe)

    def explode() -> None:
        network.get_parameter("final_layer.FC.weight").data.fill_(float("inf"))

    with pytest.raises(InputError, match="the weights became infinite in epoch 1: lower the learning rate"):
        fit(recipe, network, training_pictures(), None, tmp_path, MACHINE, check=stop_after(8, explode))
    assert newest(tmp_path) is None


def test_averages_that_are_of_no_use_are_not_saved(tmp_path: Path) -> None:
    """Finite weights may give answers that are not."""
    recipe = replace(RECIPE, stages=((16, 1),), schedule=LastStep(1e30), clip_norm=None)
    with pytest.raises(InputError, match=r"the validation loss became (nan|inf) in epoch 1: lower the learning rate"):
        run(tmp_path, recipe, validation=validation_pictures(), patience=1)
    assert newest(tmp_path) is None


def test_what_a_killed_run_left_of_a_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    left = [tmp_path / "checkpoints" / ".0a1b2c3d.newest-epoch=0.ckpt", tmp_path / ".0a1b2c3d.model.safetensors"]
    for path in left:
        path.write_bytes(b"half")
    run(tmp_path, replace(RECIPE, stages=((16, 1),)))
    assert not any(path.exists() for path in left)


def test_full_disk_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Fitted
) -> None:
    save = torch.save

    def full(value: Any, file: BinaryIO) -> None:
        if value["epoch"] == 1:
            file.write(b"some of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(value, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError) as caught:
        run(tmp_path, validation=validation_pictures())
    monkeypatch.undo()
    path = tmp_path / "checkpoints/newest-epoch=1.ckpt"
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device; the checkpoint before is kept: "
        "free some space, and run it again"
    )
    assert [p.name for p in path.parent.iterdir()] == ["newest-epoch=0.ckpt"]
    resumed = run(tmp_path, validation=validation_pictures())
    assert_same(weights(resumed), weights(undisturbed))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_at(tmp_path / "disk", "300k") as disk:
        yield disk


def test_really_full_disk(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(250_000))
    with pytest.raises(OutputError, match=r"newest-epoch=0\.ckpt: No space left on device; the checkpoint before"):
        run(small_disk)
    assert list((small_disk / "checkpoints").iterdir()) == []


def test_devices_that_are_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="give other devices") as caught:
        run(tmp_path, machine=replace(MACHINE, accelerator="gpu"))
    assert "\n" not in str(caught.value)
