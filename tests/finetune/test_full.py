"""Training the whole network: results, resuming, and several processes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.datasets import LabelledImages
from pnasnet.engines import EngineOptions
from pnasnet.finetune import MODEL, FinetuneOptions, FinetuneResult, finetune
from pnasnet.finetune.full import fine_tune
from pnasnet.lowering.torch_network import Network
from pnasnet.module.open import Model, metadata
from pnasnet.training.machine import Machine
from pnasnet.weights import write_weights

from tests.helpers.finetune_data import COLOURS, coloured, folder_of
from tests.helpers.train_data import SPEC
from tests.helpers.waiting import limited, until

FULL = FinetuneOptions(full=True, epochs=3, training_batch=8, learning_rate=0.005)
QUIET = Machine(accelerator="cpu", devices=1, workers=0)


@pytest.mark.slow
def test_the_whole_network_is_trained_from_the_classifier_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(stage: str, done: int, total: int | None) -> None:
        assert not list(tmp_path.rglob(MODEL))  # nothing looks finished that is not

    engines: list[EngineOptions] = []

    def opened(*arguments: Any, engine: EngineOptions) -> Module:
        engines.append(engine)
        return Module(*arguments, engine=engine)

    monkeypatch.setattr("pnasnet.finetune.run.Module", opened)
    engine = EngineOptions("torch", threads=1)
    result = finetune("pnasnet_tiny", coloured(20), tmp_path, FULL, machine=QUIET, progress=check, engine=engine)
    assert engines == [engine] * 2  # for the features, and to measure the trained network
    assert 1 <= len(result.history) <= FULL.epochs
    assert json.loads((tmp_path / "metrics.json").read_text())["tuned"] is result.tuned is True
    assert result.evaluation.top1.value == 1.0
    tuned, base = Module(tmp_path).variables, Module("pnasnet_tiny").variables
    assert (tuned["cell_0/1x1/weights"] != base["cell_0/1x1/weights"]).any()
    np.testing.assert_array_equal(  # frozen by default
        tuned["cell_0/beginning_bn/moving_mean"], base["cell_0/beginning_bn/moving_mean"]
    )
    earlier, later = (
        np.abs(tuned[name] - base[name]).mean() / np.abs(base[name]).mean()
        for name in ("l1_stem_3x3/weights", "cell_3/1x1/weights")
    )
    assert earlier < later


def test_a_classifier_alone_is_measured_by_the_features_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def count(*arguments: Any, **options: Any) -> Module:
        opened.append(arguments)
        return Module(*arguments, **options)

    monkeypatch.setattr("pnasnet.finetune.run.Module", count)
    result = finetune("pnasnet_tiny", coloured(10), tmp_path)
    assert (len(opened), result.tuned) == (1, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("balanced", "figure", "words"),
    [
        (False, "validation_top1", "reached a validation top-1 of 40.00%"),
        (True, "validation_recall", "reached a mean validation recall of 40.00%"),
    ],
)
def test_a_worse_network_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balanced: bool, figure: str, words: str
) -> None:
    def spoil(*arguments: Any) -> Any:
        tuned = fine_tune(*arguments)
        assert all(figure in epoch for epoch in tuned.history)
        return replace(tuned, history=[{**epoch, figure: 0.4} for epoch in tuned.history])

    monkeypatch.setattr("pnasnet.finetune.full.fine_tune", spoil)
    one = replace(FULL, epochs=1, balanced=balanced)
    result = finetune("pnasnet_tiny", coloured(20), tmp_path, one, machine=QUIET)
    assert not result.tuned
    assert words in result.notes[-1]
    assert "the classifier alone was kept" in result.notes[-1]
    tuned, base = (Module(model).variables["cell_0/1x1/weights"] for model in (tmp_path, "pnasnet_tiny"))
    np.testing.assert_array_equal(tuned, base)


def small_network(path: Path, classes: int) -> Path:
    """Write a network with an auxiliary head, for images large enough to be cropped, with random weights."""
    spec = replace(
        SPEC, stem="imagenet", image_size=(72, 72), num_cells=3, reductions=2, num_classes=classes, aux_head=True
    )
    model = Model("small", resolve(spec), None, (), "random", None)
    write_weights(path, Network(model.plan, aux_head=True).to_variables(), **metadata(model))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 4])
def test_an_auxiliary_head_of_other_classes_is_reported_and_depends_on_the_seed(tmp_path: Path, classes: int) -> None:
    base, notes = small_network(tmp_path / "base.safetensors", classes), list[str]()
    assert any(name.startswith("aux_") for name in Module(base).model.arrays())
    tuned = []
    for disturbed in (1, 2):
        torch.manual_seed(disturbed)
        folder = tmp_path / str(disturbed)
        result = finetune(base, coloured(8), folder, replace(FULL, epochs=2), machine=QUIET)
        tuned.append(result.history)
        notes += result.notes
    told = "the weights have no auxiliary head for these classes; a new one is trained as well"
    assert notes.count(told) == 2 * (classes != len(COLOURS))
    assert tuned[0] == tuned[1]
    assert all(np.isfinite(epoch["validation_loss"]) for epoch in tuned[0])


class StoppedError(Exception):
    """What a test ends a training with."""


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nothing", "pictures", "weights", "settings"])
def test_only_the_same_training_is_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str) -> None:
    """All three changes leave the number of steps, by which the checkpoint alone would pass for finished."""

    def run(data: LabelledImages, options: FinetuneOptions, **others: Any) -> FinetuneResult:
        return finetune("pnasnet_tiny", data, tmp_path, options, machine=QUIET, **others)

    def stop(stage: str, done: int, total: int | None) -> None:
        if list(tmp_path.glob("training/checkpoints/newest*")):
            raise StoppedError

    one = replace(FULL, epochs=1)
    with pytest.raises(StoppedError):
        run(coloured(12), one, progress=stop)
    data, others = coloured(12), {}
    if change == "pictures":
        data = replace(data, labels=(data.labels + 1) % 3)
    if change == "weights":
        base = Module("pnasnet_tiny").variables
        others["weights"] = {**base, "cell_0/1x1/weights": base["cell_0/1x1/weights"] * 1.1}
    if change == "settings":
        one = replace(one, learning_rate=0.001)
    with caplog.at_level("INFO", "pnasnet"):
        result = run(data, one, overwrite=True, **others)
    said = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert ("starting over" in said) == (change != "nothing")
    assert any(line.startswith("resuming from") for line in said) == (change == "nothing")
    assert len(result.history) == 1
    assert not (tmp_path / "training").exists()


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def full_command(pictures: Path, output: Path) -> list[str]:
    command = [sys.executable, "-m", "pnasnet", "finetune", str(pictures), "-o", str(output), "-m", "pnasnet_tiny"]
    return [*command, "--full", "--epochs", "6", "--patience", "6", "--training-batch", "4", "--workers", "0"]


def signal_in_training(command: list[str], output: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Run a command, and send it a signal once it has trained an epoch."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True)
    with limited(process, 500):
        until(lambda: bool(list(output.glob("training/checkpoints/newest*"))) or process.poll() is not None, 400)
        assert process.poll() is None
        process.send_signal(number)
        stderr = process.communicate()[1]
    return subprocess.CompletedProcess(command, process.returncode, None, stderr)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_line(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "model"
    command = full_command(folder_of(tmp_path / "pictures", 12), output)
    stopped = signal_in_training(command, output, number)
    assert stopped.returncode == 128 + number
    assert stopped.stderr.splitlines()[-1].startswith("error: interrupted")
    assert "Traceback" not in stopped.stderr
    assert not (output / MODEL).exists()


@pytest.mark.slow
def test_kill_9_and_the_same_command_again(tmp_path: Path) -> None:
    pictures, output = folder_of(tmp_path / "pictures", 12), tmp_path / "model"
    command = full_command(pictures, output)
    signal_in_training(command, output, signal.SIGKILL)
    assert not (output / MODEL).exists()
    (part,) = output.glob("features/part-*.parquet")
    before = part.stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=600)
    assert again.returncode == 0, again.stderr
    assert "resuming from" in again.stderr
    assert part.stat().st_mtime_ns == before
    assert len(json.loads((output / "metrics.json").read_text())["history"]) == 6
    assert Module(output).labels == ("blue", "green", "red")
    assert not (output / "training").exists()


_DEVICES = """if True:
    import os, sys, time
    import pnasnet.finetune.folder as output
    write = output.write_card
    def slowly(*arguments):
        assert os.environ["LOCAL_RANK"] == "0", "the second process writes, too"
        time.sleep(7)  # Lightning looks after the other processes every five seconds
        write(*arguments)
    output.write_card = slowly
    from pnasnet.cli import main
    main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_processes_and_an_unreadable_image(tmp_path: Path) -> None:
    """The second process ends first, and must not pass for one that failed."""
    pictures, script = folder_of(tmp_path / "pictures", 12, broken=("red/0.png",)), tmp_path / "script.py"
    script.write_text(_DEVICES)
    command = [sys.executable, str(script), *full_command(pictures, tmp_path / "model")[3:], "--epochs", "1"]
    devices = ("--devices", "2", "--accelerator", "cpu")
    done = subprocess.run(
        [*command, *devices], capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=600
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("3 classes, top-1") == 1
    lines = done.stderr.splitlines()
    counts = [sum(line.startswith(words) for line in lines) for words in ("engine ", "the classifier for ", "epoch ")]
    assert counts == [1, 1, 1]  # the second engine, which measures the trained network, logs the same line
    assert lines[-1].startswith("skipped: ")
    assert Module(tmp_path / "model").labels == ("blue", "green", "red")
