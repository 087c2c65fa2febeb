"""Transfer learning from images to a model's folder: its files, overwriting, and errors."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from pnasnet import Module
from pnasnet.datasets import LabelledImages, open_dataset
from pnasnet.errors import InputError, LockedError, MissingExtraError, OutputError
from pnasnet.evaluation import evaluate
from pnasnet.extract import ExtractOptions
from pnasnet.extract.contents import digest_of
from pnasnet.finetune import MODEL, FinetuneOptions, FinetuneResult, FinishedError, finetune
from pnasnet.training.fit import started_by_others
from pnasnet.training.machine import Machine

from tests.helpers.finetune_data import COLOURS, coloured, folder_of, png

FULL = FinetuneOptions(full=True, epochs=3, training_batch=8, learning_rate=0.005)
QUIET = Machine(accelerator="cpu", devices=1, workers=0)


def with_orientation(pixels: NDArray[np.uint8], orientation: int) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FinetuneResult]:
    folder = tmp_path_factory.mktemp("tuned") / "model"
    return folder, finetune("pnasnet_tiny", coloured(20), folder)


def test_it_distinguishes_the_classes(done: tuple[Path, FinetuneResult]) -> None:
    folder, result = done
    assert result.evaluation.top1.value == 1.0
    assert result.evaluation.images == 9
    module = Module(folder)
    assert module.labels == tuple(COLOURS)
    for name, colour in COLOURS.items():
        assert module.classify([png(colour, seed=99)])[0][0][0] == name


def test_the_folder_has_the_documented_files(done: tuple[Path, FinetuneResult]) -> None:
    folder, result = done
    assert {entry.name for entry in folder.iterdir() if entry.name[0] != "."} == {
        MODEL, "README.md", "metrics.json", "report.html", "splits.parquet", "features",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["seconds"].keys() == {"features", "classifier"}
    assert "red" in (folder / "README.md").read_text()
    assert "<html" in (folder / "report.html").read_text()
    assert result.counts["training"].sum() + result.counts["validation"].sum() + result.evaluation.images == 60


def test_only_the_classifier_is_new(done: tuple[Path, FinetuneResult]) -> None:
    folder, result = done
    tuned, base = Module(folder).variables, Module("pnasnet_tiny").variables
    assert {name for name in base if tuned[name].shape != base[name].shape or (tuned[name] != base[name]).any()} == {
        "final_layer/FC/weights",
        "final_layer/FC/biases",
    }
    assert result.notes == ["the classifier for 10 classes was replaced by one for 3"]


def test_the_model_computes_the_logits_of_the_classifier(done: tuple[Path, FinetuneResult]) -> None:
    folder, result = done
    module, data = Module(folder), coloured(20)
    features = module.embed([data.read(index) for index in range(12)])
    rows = module.classify([data.read(index) for index in range(12)], top=3)
    logits = result.head.logits(features)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for row, expected in zip(rows, probabilities, strict=True):
        assert [p for _, p in row] == pytest.approx(sorted(expected, reverse=True), abs=1e-4)


def test_corrupt_images_are_skipped_and_listed(tmp_path: Path) -> None:
    result = finetune("pnasnet_tiny", coloured(10, broken=(3, 12)), tmp_path, FinetuneOptions())
    assert len(result.skipped) == 2
    assert "red/3.png" in result.skipped[0]
    assert json.loads((tmp_path / "metrics.json").read_text())["skipped"] == result.skipped
    assert sum(counts.sum() for counts in result.counts.values()) == 28


@pytest.mark.parametrize(
    ("machine", "variables"),
    [(replace(QUIET, nodes=2), {}), (QUIET, {"SLURM_NTASKS": "4"}), (QUIET, {"TORCHELASTIC_RUN_ID": "1"})],
)
def test_processes_started_together_are_refused(
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


def test_names_that_are_not_utf8(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As Linux has them: their bytes are kept as surrogates, which Arrow cannot write."""
    data, folder = coloured(6), tmp_path / "model"
    data = replace(data, names=[name.replace("red/", "r\udce9d/") for name in data.names])
    finetune("pnasnet_tiny", data, folder, FinetuneOptions())
    (part,) = folder.glob("features/part-*.parquet")
    for table in (pq.read_table(folder / "splits.parquet"), pq.read_table(part)):
        assert table.column(0).to_pylist()[0] == r"r\xe9d/0.png"
    with caplog.at_level("INFO", "pnasnet"):
        finetune("pnasnet_tiny", data, folder, overwrite=True)
    assert "reusing the features of 18 of 18 images" in caplog.messages


def test_exif_orientation_is_part_of_the_models_preprocessing(tmp_path: Path) -> None:
    """The tuned model applies the orientation as it was applied during fine-tuning."""
    finetune("pnasnet_tiny", coloured(4), tmp_path, FinetuneOptions(), extract=ExtractOptions(exif=True))
    module = Module(tmp_path)
    assert module.preset == "hub+exif"
    assert json.loads((tmp_path / "features" / "_settings.json").read_text())["exif"] == "true"
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 20:] = 255
    asked, lying = module.embed([with_orientation(pixels, 6), with_orientation(pixels, 1)])
    assert np.abs(asked - lying).max() > 0.1
    upright = with_orientation(np.rot90(pixels, -1), 1)
    np.testing.assert_allclose(asked, Module("pnasnet_tiny").embed(upright)[0], atol=1e-4)


def test_a_class_without_readable_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the 3 images of class 'red' can be read"):
        finetune("pnasnet_tiny", coloured(3, broken=(0, 1, 2)), tmp_path, FinetuneOptions())
    assert not (tmp_path / MODEL).exists()


def test_a_class_without_readable_training_images(tmp_path: Path) -> None:
    data = coloured(2)
    finetune("pnasnet_tiny", data, tmp_path / "first", FinetuneOptions())
    rows = pq.read_table(tmp_path / "first" / "splits.parquet").to_pylist()
    lost = next(data.names.index(row["name"]) for row in rows if row["part"] == "training")
    with pytest.raises(InputError, match="has no readable image to train on"):
        finetune("pnasnet_tiny", coloured(2, broken=(lost,)), tmp_path / "second", FinetuneOptions())


@pytest.mark.parametrize(("few", "words"), [(1, "class 'red' has"), (2, "2 classes, such as 'red', have")])
def test_classes_without_test_images_are_reported(tmp_path: Path, few: int, words: str) -> None:
    kept = [index for index in range(3 * 8) if index // 8 >= few or index % 8 < 2]
    result = finetune("pnasnet_tiny", coloured(8).take(np.array(kept)), tmp_path)
    (note,) = (note for note in result.notes if note.startswith(words))
    assert "no test image" in note


def test_a_single_class_is_an_error(tmp_path: Path) -> None:
    data = LabelledImages(["a", "b"], np.array([0, 0]), ("only",), lambda index: png((1, 2, 3)))
    with pytest.raises(InputError, match="at least two classes; the data has 1"):
        finetune("pnasnet_tiny", data, tmp_path, FinetuneOptions())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*Not a directory"):
        finetune("pnasnet_tiny", coloured(3), tmp_path / "file" / "model", FinetuneOptions())


def test_checkpoints_of_a_full_run_survive_a_run_without_full(tmp_path: Path) -> None:
    finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())
    (tmp_path / "training").mkdir()
    finetune("pnasnet_tiny", coloured(6), tmp_path, overwrite=True)
    assert (tmp_path / "training").exists()


def test_new_figures_never_lie_beside_an_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())

    def full(path: Path, result: FinetuneResult) -> None:
        assert not (tmp_path / MODEL).exists()
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("pnasnet.finetune.folder.write_card", full)
    with pytest.raises(OutputError, match="No space left"):
        finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions(balanced=True), overwrite=True)
    assert not (tmp_path / MODEL).exists()


def test_a_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other files \(README\.md\): choose a new or an empty folder"):
        finetune("pnasnet_tiny", coloured(6), tmp_path, FinetuneOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_missing_logger_is_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.training.machine.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="logger wandb needs wandb"):
        finetune("pnasnet_tiny", coloured(6), tmp_path / "model", FULL, machine=replace(QUIET, loggers=("wandb",)))
    assert not (tmp_path / "model").exists()


def test_copies_of_images_do_not_leak(tmp_path: Path) -> None:
    """Images with random labels, each copied four times: memorized labels must not raise the test accuracy."""
    rng = np.random.default_rng(0)
    files = [png(tuple(rng.integers(0, 255, 3)), seed) for seed in range(80)]
    labels = rng.integers(0, 2, 80)
    names = [f"{copy}/{index}.png" for copy in range(4) for index in range(80)]
    data = LabelledImages(names, np.tile(labels, 4), ("a", "b"), lambda index: files[index % 80])
    result = finetune("pnasnet_tiny", data, tmp_path, FinetuneOptions(test=0.3))
    assert result.evaluation.images == 96
    assert 0.2 < (result.evaluation.top1.value or 0) < 0.8
    assert "240 images are copies of others; copies are always in the same part" in result.notes


def test_a_moved_folder_keeps_split_and_features(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, model = folder_of(tmp_path / "pictures", 8), tmp_path / "model"
    first = finetune("pnasnet_tiny", open_dataset(folder), model)
    moved = folder.rename(tmp_path / "moved")
    with caplog.at_level("INFO", "pnasnet"):
        second = finetune("pnasnet_tiny", open_dataset(moved), model, overwrite=True)
    assert "reusing the features of 24 of 24 images" in caplog.messages
    assert {part: n.tolist() for part, n in first.counts.items()} == {
        part: n.tolist() for part, n in second.counts.items()
    }
    assert second.notes == first.notes
    np.testing.assert_array_equal(first.head.weights, second.head.weights)


def test_a_finished_model_is_kept_without_overwrite(done: tuple[Path, FinetuneResult]) -> None:
    folder, _ = done
    before = (folder / MODEL).stat().st_mtime_ns
    with pytest.raises(FinishedError, match="is already complete; overwrite it to start over"):
        finetune("pnasnet_tiny", coloured(20), folder)
    others = r"of other settings \(images: 60 → 63; seed: 0 → 1\): choose another folder, or overwrite it"
    with pytest.raises(OutputError, match=others) as caught:
        finetune("pnasnet_tiny", coloured(21), folder, FinetuneOptions(seed=1))
    assert not isinstance(caught.value, FinishedError)
    with pytest.raises(OutputError, match=r"of other settings .*preset: hub → slim"):
        finetune("pnasnet_tiny", coloured(20), folder, extract=ExtractOptions(preset="slim"))
    assert (folder / MODEL).stat().st_mtime_ns == before


def test_a_folder_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    made = {"pnasnet.validation": "0.15", "pnasnet.test": "0.15", "pnasnet.seed": "0"}
    table = pa.table({"name": ["red/0.png"], "class": ["red"], "part": ["test"]}).replace_schema_metadata(made)
    pq.write_table(table, tmp_path / "splits.parquet")
    with pytest.raises(InputError, match=r"splits\.parquet is of an earlier version.*remove it to split again"):
        finetune("pnasnet_tiny", coloured(6), tmp_path)


def test_the_evaluation_is_that_of_evaluate(tmp_path: Path) -> None:
    """The figures of the test images are those that the written model reaches on them."""
    data = coloured(12)
    result = finetune("pnasnet_tiny", data, tmp_path, FinetuneOptions(test=0.4, seed=3))
    parts = {row["content"]: row["part"] for row in pq.read_table(tmp_path / "splits.parquet").to_pylist()}
    chosen = [i for i in range(len(data)) if parts[digest_of(data.read(i))] == "test"]  # type: ignore[arg-type]
    again = evaluate(Module(tmp_path), data.take(chosen))
    for name in ("top1", "top5", "balanced_accuracy", "most_frequent", "per_class", "confusions", "num_logits"):
        assert getattr(again, name) == getattr(result.evaluation, name), name
    assert (again.weights_sha256, again.preset) == (result.evaluation.weights_sha256, result.evaluation.preset)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    options = FinetuneOptions(
        seed=np.int64(3), epochs=np.int32(2), validation=np.float32(0.25), balanced=np.bool_(True)  # type: ignore[arg-type]
    )  # fmt: skip
    assert [type(value) for value in (options.seed, options.epochs, options.validation, options.balanced)] == [
        int, int, float, bool
    ]  # fmt: skip
    finetune("pnasnet_tiny", coloured(6), tmp_path, options)
    assert json.loads((tmp_path / "metrics.json").read_text())["settings"]["seed"] == "3"


_LOCKED = """if True:
    import sys, time
    from pathlib import Path
    from pnasnet.support.locks import locked
    with locked(Path(sys.argv[1])):
        print("locked", flush=True)
        time.sleep(60)
"""


def test_a_second_run_into_one_folder_is_refused(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", _LOCKED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(LockedError, match="in use by another run: wait until it ends, or choose another folder"):
            finetune("pnasnet_tiny", coloured(6), tmp_path)
    finally:
        other.kill()
        other.communicate(timeout=60)
    assert finetune("pnasnet_tiny", coloured(6), tmp_path).evaluation.images == 3  # a killed run holds no lock


_HELD = """if True:
    import sys, time
    from pathlib import Path
    import pnasnet.finetune.run as run
    from tests.helpers.finetune_data import coloured
    finish = run.finish
    def slowly(*arguments):
        print("training", flush=True)
        time.sleep(60)
    run.finish = slowly
    run.finetune("pnasnet_tiny", coloured(6), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_finetune_itself_holds_the_lock(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    other = subprocess.Popen([sys.executable, "-c", _HELD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert other.stdout
        assert other.stdout.readline() == "training\n"
        with pytest.raises(LockedError, match="in use by another run"):
            finetune("pnasnet_tiny", coloured(6), tmp_path)
    finally:
        other.kill()
        other.communicate(timeout=60)
    assert not (tmp_path / MODEL).exists()
