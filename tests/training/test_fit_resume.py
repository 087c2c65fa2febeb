"""Trainings that are stopped, killed or ended early, and what resumes them."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.exceptions import SIGTERMException

from pnasnet.training.batches import InMemory, TrainingBatch
from pnasnet.training.fit import FitResult
from pnasnet.training.folder import newest, read_history
from pnasnet.training.recipe import Cosine, Muon

from tests.helpers.train_data import RECIPE, stripes, validation_pictures
from tests.helpers.training_runs import StoppedError, assert_same, run, stop, stop_after, weights


@pytest.mark.parametrize("steps", [3, 8, 12, 20])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, undisturbed: FitResult, steps: int) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path, validation=validation_pictures(), progress=stop_after(steps, stop))
    resumed = run(tmp_path, validation=validation_pictures())
    assert_same(weights(resumed), weights(undisturbed))
    assert resumed.history == undisturbed.history


def test_a_finished_training_returns_the_same_weights_again(tmp_path: Path, undisturbed: FitResult) -> None:
    """Killed between the last checkpoint and the file with weights, there is nothing left to train."""
    run(tmp_path, validation=validation_pictures())
    again = run(tmp_path, validation=validation_pictures(), progress=lambda *_: pytest.fail("was trained again"))
    assert_same(weights(again), weights(undisturbed))
    assert again.history == undisturbed.history


_KILLED = """if True:
    import os, signal, sys
    from pathlib import Path
    from tests.helpers.train_data import validation_pictures
    from tests.helpers.training_runs import run, stop_after
    run(Path(sys.argv[1]), validation=validation_pictures(),
        progress=stop_after(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)))
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch(tmp_path: Path, undisturbed: FitResult) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path), "15"]  # 8 steps, 2 batches of validation, 5 steps
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parents[2], *sys.path]))}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert newest(tmp_path) == tmp_path / "checkpoints/newest-epoch=0.ckpt"
    assert [figures["epoch"] for figures in read_history(tmp_path)] == [0]
    resumed = run(tmp_path, validation=validation_pictures())
    assert_same(weights(resumed), weights(undisturbed))
    assert resumed.history == undisturbed.history


def test_a_saved_epoch_has_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = pl.Trainer.save_checkpoint

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        raise KeyError("killed")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", save_and_die)
    with pytest.raises(KeyError, match="killed"):
        run(tmp_path, validation=validation_pictures())
    (epoch,) = read_history(tmp_path)
    assert epoch.keys() == {"epoch", "loss", "learning_rate", "validation_loss", "validation_top1"}


def test_an_interrupt_restores_the_signal_handler(tmp_path: Path, undisturbed: FitResult) -> None:
    """Lightning answers Ctrl-C with exit code 1, and has the process ignore all that follow.

    What Python does on Ctrl-C is called, and no signal sent: after OpenVINO has run in the same process, there may be
    no stack to deliver it on. `test_cli_train.py` sends it to a process of its own.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path,
            validation=validation_pictures(),
            progress=stop_after(12, lambda: signal.default_int_handler(signal.SIGINT, None)),
        )
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert_same(weights(run(tmp_path, validation=validation_pictures())), weights(undisturbed))


def test_termination_has_an_exit_code_that_is_not_0(tmp_path: Path, undisturbed: FitResult) -> None:
    """Lightning answers SIGTERM with an exit that has no code, which a shell would take for success."""

    def end() -> None:
        raise SIGTERMException

    with pytest.raises(SystemExit) as caught:
        run(tmp_path, validation=validation_pictures(), progress=stop_after(12, end))
    assert caught.value.code == 128 + signal.SIGTERM
    assert_same(weights(run(tmp_path, validation=validation_pictures())), weights(undisturbed))


def test_muon_learns_and_resumes(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((8, 1), (16, 4)), optimizer=Muon())
    whole = run(tmp_path / "whole", recipe, validation=validation_pictures())
    assert whole.history[-1]["validation_top1"] == 1
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", recipe, progress=stop_after(20, stop))
    assert_same(weights(run(tmp_path / "stopped", recipe)), weights(whole))


class Worsening(InMemory):
    """Validation images whose labels are swapped after a number of looks."""

    def after(self, good: int) -> "Worsening":
        object.__setattr__(self, "left", 2 * good)  # two batches each
        return self

    def batch(self, indices: NDArray[np.int64], size: int, seed: Any, share: slice = slice(None)) -> TrainingBatch:
        images, labels = super().batch(indices, size, seed, share)
        left: int = self.__dict__["left"]
        object.__setattr__(self, "left", left - 1)
        return images, labels if left > 0 else 1 - labels


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=((16, 12),), schedule=Cosine(0.05))
    images, labels = stripes(16)
    fitted = run(tmp_path, recipe, validation=Worsening(images, labels, None).after(4), patience=2)
    losses = [figures["validation_loss"] for figures in fitted.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 12  # two epochs without improvement
    with pytest.raises(StoppedError):
        run(tmp_path / "again", recipe, progress=stop_after(8 * (best + 1) + 1, stop))
    state = torch.load(newest(tmp_path / "again") or "", weights_only=True)["state_dict"]
    state["network.drop_path_progress"].fill_(1)  # as in every finished network
    assert_same({f"network.{name}": value for name, value in weights(fitted).items()}, state)
    again = run(tmp_path, recipe, validation=validation_pictures(), patience=2, progress=lambda *_: pytest.fail("run"))
    assert_same(weights(again), weights(fitted))


def test_early_stopping_resumes_its_count(tmp_path: Path) -> None:
    """Stopped in the third of four epochs that are worse than the first, it ends after the same epoch as unstopped."""
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
            progress=stop_after(8 * (len(whole.history) - 2), stop),
        )
    resumed = run(tmp_path / "two", recipe, validation=swapped, patience=4)
    assert len(resumed.history) == len(whole.history) < 12
    assert_same(weights(resumed), weights(whole))


def without_progress(value: Any) -> Any:
    """Return a checkpoint's value without the buffer that earlier versions did not save."""
    if not isinstance(value, dict):
        return value
    kept = {name: each for name, each in value.items() if not str(name).endswith("drop_path_progress")}
    return type(value)({name: without_progress(each) for name, each in kept.items()})


def test_checkpoint_of_an_earlier_version_is_resumed(tmp_path: Path, undisturbed: FitResult) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path, validation=validation_pictures(), progress=stop_after(12, stop))
    path = newest(tmp_path)
    assert path is not None
    checkpoint = torch.load(path, weights_only=True)
    assert "network.drop_path_progress" in checkpoint["state_dict"]
    torch.save(without_progress(checkpoint), path)
    assert_same(weights(run(tmp_path, validation=validation_pictures())), weights(undisturbed))
