"""Transfer learning from pictures to a model's folder: what is in it, what is kept, and what goes wrong."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pnasnet import Module
from pnasnet.architecture.plan import resolve
from pnasnet.datasets import LabelledImages
from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError, MissingExtraError, OutputError
from pnasnet.extract import ExtractOptions
from pnasnet.finetune import MODEL, FinetuneOptions, Listener, Outcome, finetune
from pnasnet.finetune.full import fine_tune
from pnasnet.lowering.torch_network import Network
from pnasnet.module.open import Model, metadata
from pnasnet.training.fit import started_by_others
from pnasnet.training.machine import Machine
from pnasnet.weights import write_weights

from tests.helpers.finetune_data import COLOURS, coloured, folder_of, png
from tests.helpers.train_data import SPEC

FULL = FinetuneOptions(full=True, epochs=3, training_batch=8, learning_rate=0.005)
QUIET = Machine(accelerator="cpu", devices=1, workers=0)


def with_orientation(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


class Ears(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.extracted = 0

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, Ears]:
    folder, ears = tmp_path_factory.mktemp("tuned") / "model", Ears()
    return folder, finetune("pnasnet_tiny", coloured(20), folder, FinetuneOptions(), listener=ears), ears


def test_it_tells_the_classes_apart(done: tuple[Path, Outcome, Ears]) -> None:
    folder, outcome, _ = done
    assert outcome.test.top(1).value == 1.0
    assert outcome.test.count == 9
    module = Module(folder)
    assert module.labels == tuple(COLOURS)
    for name, colour in COLOURS.items():
        assert module.classify([png(colour, seed=99)])[0][0][0] == name


def test_the_folder_has_all_that_was_promised(done: tuple[Path, Outcome, Ears]) -> None:
    folder, outcome, _ = done
    assert {entry.name for entry in folder.iterdir()} == {
        MODEL, "README.md", "metrics.json", "report.html", "splits.parquet", "features.parquet",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["seconds"].keys() == {"features", "classifier"}
    assert "red" in (folder / "README.md").read_text()
    assert "<html" in (folder / "report.html").read_text()
    assert outcome.counts["training"].sum() + outcome.counts["validation"].sum() + outcome.test.count == 60


def test_only_the_classifier_is_new(done: tuple[Path, Outcome, Ears]) -> None:
    folder, outcome, ears = done
    tuned, base = Module(folder).variables, Module("pnasnet_tiny").variables
    assert {name for name in base if tuned[name].shape != base[name].shape or (tuned[name] != base[name]).any()} == {
        "final_layer/FC/weights",
        "final_layer/FC/biases",
    }
    assert ears.notes == outcome.notes == ["the classifier for 10 classes was replaced by one for 3"]


def test_the_model_gives_what_the_classifier_gave(done: tuple[Path, Outcome, Ears]) -> None:
    folder, outcome, _ = done
    module, data = Module(folder), coloured(20)
    features = module.embed([data.read(index) for index in range(12)])
    rows = module.classify([data.read(index) for index in range(12)], top=3)
    logits = outcome.head.logits(features)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for row, expected in zip(rows, probabilities, strict=True):
        assert [p for _, p in row] == pytest.approx(sorted(expected, reverse=True), abs=1e-4)


def test_corrupt_pictures_are_skipped_and_listed(tmp_path: Path) -> None:
    outcome = finetune("pnasnet_tiny", coloured(10, broken=(3, 12)), tmp_path, FinetuneOptions())
    assert len(outcome.skipped) == 2
    assert "red/3.png" in outcome.skipped[0]
    assert json.loads((tmp_path / "metrics.json").read_text())["skipped"] == outcome.skipped
    assert sum(counts.sum() for counts in outcome.counts.values()) == 28


@pytest.mark.parametrize(
    ("machine", "variables"),
    [(replace(QUIET, nodes=2), {}), (QUIET, {"SLURM_NTASKS": "4"}), (QUIET, {"TORCHELASTIC_RUN_ID": "1"})],
)
def test_processes_that_others_start_at_once_are_refused(
    tmp_path: Path, machine: Machine, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="fine-tuning runs on one machine"):
        finetune("pnasnet_tiny", coloured(4), tmp_path / "model", FULL, machine=machine)
    assert not (tmp_path / "model").exists()


def test_an_interactive_job_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert started_by_others()
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert not started_by_others()


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """As Linux has them: their bytes are kept as surrogates, which Arrow cannot write."""
    data, folder = coloured(6), tmp_path / "model"
    data = replace(data, names=[name.replace("red/", "r\udce9d/") for name in data.names])
    finetune("pnasnet_tiny", data, folder, FinetuneOptions())
    for table in (pq.read_table(folder / "splits.parquet"), pq.read_table(folder / "features.parquet")):
        assert table.column(0).to_pylist()[0] == r"r\xe9d/0.png"
    ears = Ears()
    finetune("pnasnet_tiny", data, folder, FinetuneOptions(), listener=ears)
    assert any("the features of 18 of 18 pictures were there" in note for note in ears.notes)


def test_exif_orientation_is_part_of_what_the_model_asks_for(tmp_path: Path) -> None:
    """The tuned model turns a picture as those were turned that it was tuned on."""
    finetune("pnasnet_tiny", coloured(4), tmp_path, FinetuneOptions(), extract=ExtractOptions(exif=True))
    module = Module(tmp_path)
    assert module.preset == "hub+exif"
    assert pq.read_schema(tmp_path / "features.parquet").metadata[b"pnasnet.exif"] == b"true"
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    asked, lying = module.embed([with_orientation(pixels, 6), with_orientation(pixels, 1)])
    assert np.abs(asked - lying).max() > 0.1
    upright = with_orientation(np.rot90(pixels, -1), 1)
    np.testing.assert_allclose(asked, Module("pnasnet_tiny").embed(upright)[0], atol=1e-4)


def test_a_class_that_loses_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the 3 pictures of class 'red' can be read"):
        finetune("pnasnet_tiny", coloured(3, broken=(0, 1, 2)), tmp_path, FinetuneOptions())
    assert not (tmp_path / MODEL).exists()


def test_a_class_that_loses_those_to_train_on(tmp_path: Path) -> None:
    data = coloured(2)
    finetune("pnasnet_tiny", data, tmp_path / "first", FinetuneOptions())
    rows = pq.read_table(tmp_path / "first" / "splits.parquet").to_pylist()
    lost = next(data.names.index(row["name"]) for row in rows if row["part"] == "training")
    with pytest.raises(InputError, match="has no readable picture to train on"):
        finetune("pnasnet_tiny", coloured(2, broken=(lost,)), tmp_path / "second", FinetuneOptions())


@pytest.mark.parametrize(("few", "words"), [(1, "class 'red' has"), (2, "2 classes, such as 'red', have")])
def test_classes_without_a_picture_to_test_are_told(tmp_path: Path, few: int, words: str) -> None:
    kept = [index for index in range(3 * 8) if index // 8 >= few or index % 8 < 2]
    ears = Ears()
    outcome = finetune("pnasnet_tiny", coloured(8).take(np.array(kept)), tmp_path, FinetuneOptions(), listener=ears)
    (note,) = (note for note in ears.notes if note.startswith(words))
    assert "no test picture" in note
    assert note in outcome.notes


def test_one_class_is_no_question(tmp_path: Path) -> None:
    data = LabelledImages(["a", "b"], np.array([0, 0]), ("only",), lambda index: png((1, 2, 3)))
    with pytest.raises(InputError, match="at least two classes apart; the data has 1"):
        finetune("pnasnet_tiny", data, tmp_path, FinetuneOptions())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        finetune("pnasnet_tiny", coloured(3), tmp_path / "file" / "model", FinetuneOptions())


def test_what_a_full_run_would_go_on_from_outlives_a_classifier_alone(tmp_path: Path) -> None:
    finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())
    (tmp_path / "training").mkdir()
    finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())
    assert (tmp_path / "training").exists()


def test_new_figures_never_lie_beside_an_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())

    def full(path: Path, outcome: Outcome) -> None:
        assert not (tmp_path / MODEL).exists()
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("pnasnet.finetune.output.write_card", full)
    with pytest.raises(OutputError, match="No space left"):
        finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions(balanced=True))
    assert not (tmp_path / MODEL).exists()


def test_a_folder_that_is_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things \(README\.md\): name a new folder, or an empty one"):
        finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_logger_that_is_missing_is_told_of_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.training.machine.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="the logger wandb needs wandb"):
        finetune("pnasnet_tiny", coloured(6), tmp_path / "model", FULL, machine=replace(QUIET, loggers=("wandb",)))
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_the_whole_network_is_trained_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        assert not list(tmp_path.rglob(MODEL))  # nothing looks finished that is not

    engines: list[EngineOptions] = []

    def opened(*arguments: Any, engine: EngineOptions) -> Module:
        engines.append(engine)
        return Module(*arguments, engine=engine)

    monkeypatch.setattr("pnasnet.finetune.run.Module", opened)
    engine = EngineOptions("torch", threads=1)
    outcome = finetune("pnasnet_tiny", coloured(20), tmp_path, FULL, machine=QUIET, check=check, engine=engine)
    assert engines == [engine] * 2  # for the features, and to measure what was trained
    assert 1 <= len(outcome.history) <= FULL.epochs
    assert json.loads((tmp_path / "metrics.json").read_text())["tuned"] is outcome.tuned is True
    assert outcome.test.top(1).value == 1.0
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("balanced", "figure", "words"),
    [
        (False, "validation_top1", "came to 40.00% of the validation pictures"),
        (True, "validation_recall", "came to a mean recall of 40.00% on the validation pictures"),
    ],
)
def test_what_makes_it_worse_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balanced: bool, figure: str, words: str
) -> None:
    def spoil(*arguments: Any) -> Any:
        tuned = fine_tune(*arguments)
        assert all(figure in epoch for epoch in tuned.history)
        return replace(tuned, history=[{**epoch, figure: 0.4} for epoch in tuned.history])

    monkeypatch.setattr("pnasnet.finetune.run.fine_tune", spoil)
    ears = Ears()
    one = replace(FULL, epochs=1, balanced=balanced)
    assert not finetune("pnasnet_tiny", coloured(20), tmp_path, one, machine=QUIET, listener=ears).tuned
    assert words in ears.notes[-1]
    assert "the classifier alone was kept" in ears.notes[-1]
    tuned, base = (Module(model).variables["cell_0/1x1/weights"] for model in (tmp_path, "pnasnet_tiny"))
    np.testing.assert_array_equal(tuned, base)


def small_network(path: Path, classes: int) -> Path:
    """Write a network with an auxiliary head, for pictures large enough to be cropped, with random weights."""
    spec = replace(
        SPEC, stem="imagenet", image_size=(72, 72), num_cells=3, reductions=2, num_classes=classes, aux_head=True
    )
    model = Model("small", resolve(spec), None, (), "random", None)
    write_weights(path, Network(model.plan, aux_head=True).to_variables(), **metadata(model))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 4])
def test_an_auxiliary_head_of_other_classes_is_told_and_follows_from_the_seed(tmp_path: Path, classes: int) -> None:
    base, ears = small_network(tmp_path / "base.safetensors", classes), Ears()
    assert any(name.startswith("aux_") for name in Module(base).model.arrays())
    tuned = []
    for disturbed in (1, 2):
        torch.manual_seed(disturbed)
        folder = tmp_path / str(disturbed)
        outcome = finetune(base, coloured(8), folder, replace(FULL, epochs=2), machine=QUIET, listener=ears)
        tuned.append(outcome.history)
    told = "the weights have no auxiliary head for these classes; a new one is trained along"
    assert ears.notes.count(told) == 2 * (classes != len(COLOURS))
    assert tuned[0] == tuned[1]
    assert all(np.isfinite(epoch["validation_loss"]) for epoch in tuned[0])


class StoppedError(Exception):
    """What a test ends a training with."""


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nothing", "pictures", "weights", "settings"])
def test_only_the_same_training_is_gone_on_with(tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str) -> None:
    """All three changes leave the number of steps, by which the checkpoint alone would pass for finished."""

    def run(data: LabelledImages, options: FinetuneOptions, **others: Any) -> Outcome:
        return finetune("pnasnet_tiny", data, tmp_path, options, machine=QUIET, **others)

    def stop() -> None:
        if list(tmp_path.glob("training/checkpoints/newest*")):
            raise StoppedError

    one = replace(FULL, epochs=1)
    with pytest.raises(StoppedError):
        run(coloured(12), one, check=stop)
    data, others = coloured(12), {}
    if change == "pictures":
        data = replace(data, labels=(data.labels + 1) % 3)
    if change == "weights":
        base = Module("pnasnet_tiny").variables
        others["weights"] = {**base, "cell_0/1x1/weights": base["cell_0/1x1/weights"] * 1.1}
    if change == "settings":
        one = replace(one, learning_rate=0.001)
    with caplog.at_level("INFO", "pnasnet"):
        outcome = run(data, one, **others)
    said = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert ("this one begins anew" in said) == (change != "nothing")
    assert any(line.startswith("going on from") for line in said) == (change == "nothing")
    assert len(outcome.history) == 1
    assert not (tmp_path / "training").exists()


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def full_command(pictures: Path, output: Path) -> list[str]:
    command = [sys.executable, "-m", "pnasnet", "finetune", str(pictures), "-o", str(output), "-m", "pnasnet_tiny"]
    return [*command, "--full", "--epochs", "6", "--patience", "6", "--training-batch", "4", "--workers", "0"]


def signal_in_training(command: list[str], output: Path, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Run a command, and send it a signal once it has trained an epoch."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    deadline = time.monotonic() + 100
    while not list(output.glob("training/checkpoints/newest*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
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
    before = (output / "features.parquet").stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stderr
    assert (output / "features.parquet").stat().st_mtime_ns == before
    assert len(json.loads((output / "metrics.json").read_text())["history"]) == 6
    assert Module(output).labels == ("blue", "green", "red")
    assert not (output / "training").exists()


_DEVICES = """if True:
    import os, sys, time
    import pnasnet.finetune.output as output
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
def test_two_processes_and_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    """The second process ends first, and must not pass for one that failed."""
    pictures, script = folder_of(tmp_path / "pictures", 12, broken=("red/0.png",)), tmp_path / "script.py"
    script.write_text(_DEVICES)
    command = [sys.executable, str(script), *full_command(pictures, tmp_path / "model")[3:], "--epochs", "1"]
    devices = ("--devices", "2", "--accelerator", "cpu")
    done = subprocess.run([*command, *devices], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("3 classes, top-1") == 1
    lines = done.stderr.splitlines()
    counts = [sum(line.startswith(words) for line in lines) for words in ("engine ", "the classifier for ", "epoch ")]
    assert counts == [2, 1, 1]  # an engine for the features, and one to measure what was trained
    assert lines[-1].startswith("skipped: ")
    assert Module(tmp_path / "model").labels == ("blue", "green", "red")
