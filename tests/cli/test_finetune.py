"""`pnasnet finetune`: one command to a model, one line for each thing that goes wrong."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.cli.finetune import finetune
from pnasnet.finetune import MODEL
from pnasnet.training.machine import Machine

from tests.helpers.cli_runs import error_of, run
from tests.helpers.finetune_data import folder_of, png

TINY = ("-m", "pnasnet_tiny")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("data"), 10)


def test_a_folder_becomes_a_model_that_commands_take(pictures: Path, tmp_path: Path) -> None:
    result = run("finetune", pictures, "-o", tmp_path / "model", *TINY)
    assert result.exit_code == 0, result.output
    line = result.stdout.strip()
    assert line.startswith(f"{tmp_path / 'model'}: 3 classes, top-1 100.00% (95 % interval ")
    assert "on 6 test images" in line
    assert "classifier for 10 classes was replaced by one for 3" in result.stderr
    (tmp_path / "new.png").write_bytes(png((25, 210, 40), seed=7))
    classified = run("classify", tmp_path / "new.png", "-m", tmp_path / "model", "--json", "-q")
    assert json.loads(classified.stdout)["classes"][0]["name"] == "green"
    embedded = run("embed", tmp_path / "new.png", "-m", tmp_path / "model", "-o", tmp_path / "f.parquet", "-q")
    assert embedded.exit_code == 0, embedded.output
    exported = run("export", tmp_path / "model", tmp_path / "m.onnx", "--endpoint", "Logits")
    assert exported.exit_code == 0, exported.output
    evaluated = run("evaluate", tmp_path / "model", pictures, "--json", "-q")
    assert json.loads(evaluated.stdout)["top1"]["value"] == 1.0


def test_a_column_of_another_name(tmp_path: Path) -> None:
    colours = [((250, 20, 20), "red"), ((20, 20, 250), "blue")]
    rows = [{"photo": png(colour, seed=seed), "label": name} for seed in range(6) for colour, name in colours]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    command = ("finetune", tmp_path / "a.parquet", "-o", tmp_path / "model", *TINY, "-q")
    assert "name one with --image-column" in error_of(run(*command))
    assert run(*command, "--image-column", "photo").exit_code == 0
    assert (tmp_path / "model" / "README.md").is_file()


def test_options_reach_the_run(pictures: Path, tmp_path: Path) -> None:
    options = ("--validation", "0.4", "--test", "0.3", "--seed", "5", "--balanced", "--preset", "slim", "-q")
    result = run("finetune", pictures, "-o", tmp_path, *TINY, *options)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    said = json.loads((tmp_path / "metrics.json").read_text())
    assert said["settings"]["seed"] == "5"
    assert said["settings"]["balanced"] == "True"
    assert said["evaluation"]["preset"] == "slim"
    assert "9 test images" in result.stdout


def test_corrupt_images_are_named_and_change_the_exit_code(tmp_path: Path) -> None:
    broken = ("red/0.png", "blue/4.png")
    result = run("finetune", folder_of(tmp_path / "data", 8, broken=broken), "-o", tmp_path / "model", *TINY)
    assert result.exit_code == 3
    told = [line for line in result.stderr.splitlines() if line.startswith("skipped: ")]
    assert ["red/0.png" in told[1], "blue/4.png" in told[0]] == [True, True]
    assert len(told) == 2
    assert (tmp_path / "model" / MODEL).exists()
    again = run("finetune", tmp_path / "data", "-o", tmp_path / "model", *TINY)
    assert (again.exit_code, again.stdout.count("is already complete")) == (3, 1)  # as `embed` of such a folder


def test_a_finished_model_is_replaced_only_on_request(pictures: Path, tmp_path: Path) -> None:
    assert run("finetune", pictures, "-o", tmp_path, *TINY).exit_code == 0
    before = (tmp_path / MODEL).read_bytes()
    (part,) = tmp_path.glob("features/part-*.parquet")
    again = run("finetune", pictures, "-o", tmp_path, *TINY)
    assert again.exit_code == 0
    assert again.stdout == f"{tmp_path} is already complete; overwrite it to start over (--overwrite)\n"
    message = error_of(run("finetune", pictures, "-o", tmp_path, *TINY, "--seed", "1"))
    assert "holds a finished model of other settings (seed: 0 → 1): choose another folder, or overwrite it" in message
    assert (tmp_path / MODEL).read_bytes() == before
    computed = part.stat().st_mtime_ns
    again = run("finetune", pictures, "-o", tmp_path, *TINY, "--balanced", "--overwrite")
    assert again.exit_code == 0
    count = len(list(pictures.rglob("*.*")))
    assert f"reusing the features of {count} of {count} images" in again.stderr.splitlines()
    assert part.stat().st_mtime_ns == computed


def test_credentials_are_neither_in_the_card_nor_in_the_report(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://user:5ecret@example.com/w.safetensors?v=1&X-Amz-Signature=5ecret"
    monkeypatch.setattr(sys, "argv", ["pnasnet", "finetune", f"--weights={url}", "-w", url])
    assert run("finetune", pictures, "-o", tmp_path, *TINY, "-q").exit_code == 0
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"5ecret" not in path.read_bytes(), path
    assert "--weights=https://example.com/w.safetensors?v=1" in (tmp_path / "README.md").read_text()
    message = error_of(run("finetune", pictures, "-o", tmp_path / "other", *TINY, "-w", url))
    assert message.startswith("weights are opened from files: download https://example.com/w.safetensors?v=1, and pass")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("{none}", "-o", "{out}"), 1, "none"),
        (("{data}", "-o", "{out}", "-m", "pnasnet_tyny"), 2, "did you mean pnasnet_tiny"),
        (("{data}", "-o", "{out}", *TINY, "--validation", "0.9", "--test", "0.2"), 2, "leave no images for training"),
        (
            ("{data}", "-o", "{out}", *TINY, "--full", "--layer-decay", "1.5"),
            2,
            "--layer-decay must be more than 0 and",
        ),
        (("{data}", "-o", "{out}", *TINY, "--validation", "1"), 2, "--validation must be a fraction between 0 and 1"),
        (
            ("{data}", "-o", "{out}", *TINY, "--full", "--learning-rate", "0"),
            2,
            "--learning-rate must be more than 0",
        ),
        (("{data}", "-o", "{out}", *TINY, "--split", "train"), 2, "train"),
    ],
)
def test_errors_are_one_line_each(
    pictures: Path, tmp_path: Path, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    places = {"none": str(tmp_path / "none"), "data": str(pictures), "out": str(tmp_path / "model")}
    assert words in error_of(run("finetune", *(argument.format(**places) for argument in arguments)), exit_code)
    assert not (tmp_path / "model" / MODEL).exists()


def test_options_of_the_whole_network_need_it(pictures: Path, tmp_path: Path) -> None:
    machine = {field.name for field in fields(Machine)}
    tuning = {"epochs", "patience", "learning_rate", "layer_decay", "training_batch", "train_batch_norm"}
    options = [option for option in finetune.params if option.name in (machine | tuning) - {"precision"}]
    assert len(options) == 15
    for option in options:
        assert isinstance(option, click.Option)
        assert str(getattr(option, "section", "")).endswith(", with --full")
        given = [option.opts[0]] if option.is_flag else [option.opts[0], "2"]
        result = run("finetune", pictures, "-o", tmp_path, *TINY, *given)
        assert result.exit_code == 2, option.name
        assert f"{option.opts[0]} needs --full" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kept_split_is_reported_as_it_is(pictures: Path, tmp_path: Path) -> None:
    assert run("finetune", pictures, "-o", tmp_path, *TINY, "--validation", "0.3", "-q").exit_code == 0
    again = ("finetune", pictures, "-o", tmp_path, *TINY, "--overwrite")
    assert "splits.parquet" not in run(*again, "--validation", "0.3").stderr
    result = run(*again, "--validation", "0.4", "--test", "0.3", "--seed", "5")
    told = "splits.parquet was created with validation 0.3, test 0.15 and seed 0, and is used unchanged. "
    told += "Remove it to split again"
    assert told in result.stderr.splitlines()
    said = json.loads((tmp_path / "metrics.json").read_text())
    assert [said["settings"][name] for name in ("validation", "test", "split_seed")] == ["0.3", "0.15", "0"]
    assert told in said["notes"]


_WITHOUT = """if True:
    import sys
    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == hidden:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    hidden = sys.argv.pop(1)
    sys.meta_path.insert(0, Hidden())
    from pnasnet.cli import main
    main()
"""


def without(package: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process in which a package cannot be imported."""
    command = [sys.executable, "-c", _WITHOUT, package, "finetune", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("missing", ["torch", "pytorch_lightning"])
def test_a_classifier_alone_needs_no_torch(pictures: Path, tmp_path: Path, missing: str) -> None:
    done = without(missing, pictures, "-o", tmp_path / "out", *TINY, "--engine", "openvino")
    assert done.returncode == 0, done.stderr
    assert "3 classes, top-1 100.00%" in done.stdout
    assert (tmp_path / "out" / MODEL).exists()


@pytest.mark.parametrize(
    ("missing", "package", "extra", "options"),
    [
        ("torch", "pytorch-lightning", "train", ("--full",)),
        ("pytorch_lightning", "pytorch-lightning", "train", ("--full",)),
        ("sklearn", "scikit-learn", "finetune", ()),
        ("matplotlib", "matplotlib", "finetune", ()),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    pictures: Path, tmp_path: Path, missing: str, package: str, extra: str, options: tuple[str, ...]
) -> None:
    done = without(missing, pictures, "-o", tmp_path / "out", *TINY, *options)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(f"needs {package}, which is not installed: pip install 'pnasnet[{extra}]'\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_class_of_one_and_an_empty_class(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", 4)
    (data / "lonely").mkdir()
    assert "contains no images" in error_of(run("finetune", data, "-o", tmp_path / "model", *TINY))
    (data / "lonely" / "0.png").write_bytes(png((9, 9, 9)))
    assert "class 'lonely' has 1 distinct image" in error_of(run("finetune", data, "-o", tmp_path / "model", *TINY))


def test_names_of_classes_and_files_cannot_reach_the_terminal(tmp_path: Path) -> None:
    data = folder_of(tmp_path / "data", 6)
    (data / "red").rename(data / "red\x1b[2J\u202e")
    (data / "blue" / "bad\x1b]0;t\n.png").write_bytes(b"no")
    result = run("finetune", data, "-o", tmp_path / "model", *TINY)
    assert result.exit_code == 3, result.output
    assert not {"\x1b", "\u202e"} & set(result.output)
    assert r"bad\x1b]0;t\n.png" in result.stderr
    for name in ("README.md", "report.html", "metrics.json"):
        assert not {"\x1b", "\u202e"} & set((tmp_path / "model" / name).read_text("utf-8"))
