"""`pnasnet search`: from pictures to a cell, and everything that can be wrong."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pnasnet import Module
from pnasnet.search.journal import JOURNAL, Journal
from pnasnet.support.locks import locked

from tests.helpers.cli_runs import error_of, run, usage_error_of
from tests.helpers.train_data import write
from tests.helpers.waiting import limited

CONFIG = """
[space]
operations = ["sep3", "max3"]
blocks = 2
[child]
num_cells = 2
filters = 4
image_size = 16
reductions = 1
stem_multiplier = 1.0
epochs = 1
batch_size = 8
images = 16
validation_images = 8
[search]
algorithms = ["progressive", "random"]
beam = 2
models = 12
predictor = "linear"
population = 9
sample = 2
[network]
num_cells = 3
filters = 6
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", 32)


@pytest.mark.slow
def test_from_pictures_to_a_network(config: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ("search", "run", config, data, "-o", output, "--workers", "1", "--accelerator", "cpu")
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.partition(", best")[0] for line in lines[:2]] == [
        "progressive seed 0: 12 models", "random seed 0: 12 models",
    ]  # fmt: skip
    assert lines[2].endswith("/report.html")
    assert result.stderr.splitlines()[0].startswith("progressive seed 0: model 1 of 12, ")
    files = {path.name for path in output.iterdir()}
    assert {"journal.sqlite", "best.json", "best.svg", "report.html"} <= files
    assert list((output / "unfinished").iterdir()) == []
    with Journal(output / JOURNAL, readonly=True) as journal:
        children = journal.children()
    assert {child.status for child in children.values()} == {"ok"}
    assert all(len(child.curve) == 1 and child.curve[0] == child.accuracy for child in children.values())
    network = Module(output / "best.json", trainable=True, tags={"train"}).model
    assert network.spec.filters == 6
    assert network.spec.num_classes == 2
    again = run(*arguments, "-q")
    assert f"{output}: 0 children trained" in again.stdout
    assert again.stderr == ""
    config.write_text(CONFIG.replace("epochs = 1", "epochs = 2"))
    assert "was created with another configuration (child.epochs: 1 → 2)" in error_of(run(*arguments))
    config.write_text(CONFIG)
    write(data, 34)
    assert "was created with another configuration (data.pictures: 32 → 34" in error_of(run(*arguments))


@pytest.mark.slow
def test_ctrl_c_ends_with_a_line_and_leaves_a_report(config: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["search", "run", str(config), str(data), "-o", str(output), "--workers", "2", "--accelerator", "cpu"]
    command = [sys.executable, "-m", "pnasnet", *arguments]
    with limited(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)) as process:
        assert process.stderr is not None
        told = [process.stderr.readline(), process.stderr.readline()]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
        told += process.stderr.readlines()
    assert process.returncode == 128 + signal.SIGINT, told
    assert all(line.startswith("progressive seed 0: model ") for line in told[:-1]), told
    hint = f"repeat the command to resume; `pnasnet search report {output}` shows the results so far"
    assert told[-1] == f"error: interrupted; {hint}\n"
    with Journal(output / JOURNAL, readonly=True) as journal:
        trained = len(journal.children())
    assert 2 <= trained < 12
    reported = run("search", "report", output)
    assert reported.exit_code == 0, reported.output
    assert reported.stdout.splitlines()[-1] == str(output / "report.html")
    assert f"{trained} cells trained" in (output / "report.html").read_text("utf-8")


def test_report_of_a_missing_search(tmp_path: Path) -> None:
    message = error_of(run("search", "report", tmp_path))
    assert message == f"{tmp_path / JOURNAL} does not exist: use the folder of a search"


def test_describe() -> None:
    result = run("search", "describe", "paper")
    assert result.exit_code == 0, result.output
    for text in ("256 ", "136 ", "5.57e+14", "31,620", "136 + 256 + 256 + 256 + 256 = 1,160"):
        assert text in result.stdout
    assert "13 operations" in run("search", "describe", "nasnet_operations").stdout


def test_list() -> None:
    lines = run("search", "describe").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["paper", "nasnet_operations", "two_cores", "minutes"]
    assert lines[0].startswith("paper              Liu et al., 2018: eight operations, five blocks")


def test_one_class(config: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "one", 32, ("same", "same"))
    message = error_of(run("search", "run", config, data, "-o", tmp_path / "out"))
    assert message == "the data has one class ('same'): a search needs at least two"
    assert not (tmp_path / "out").exists()


def test_too_few_pictures(config: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "few", 20)
    message = error_of(run("search", "run", config, data, "-o", tmp_path / "out"))
    assert message.startswith("class 'lying' has 10 images, too few for 4 validation images and 8 training images")


def test_folder_in_use(config: Path, data: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        message = error_of(run("search", "run", config, data, "-o", tmp_path / "out"))
    assert message == f"{tmp_path / 'out'} is in use by another run: wait until it ends, or choose another folder"


def test_damaged_journal(config: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / JOURNAL).write_bytes(b"no database" * 100)
    assert "is damaged (file is not a database)" in error_of(run("search", "run", config, data, "-o", output))
    (output / JOURNAL).unlink()
    Journal(output / JOURNAL).close()
    with sqlite3.connect(output / JOURNAL) as connection:
        connection.execute("INSERT INTO chosen VALUES ('progressive seed 0', 0, 1, '[[7]]', NULL)")
    connection.close()
    assert "is damaged (" in error_of(run("search", "run", config, data, "-o", output, "--workers", "1"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models = 12", "models = 0", "[search] a budget of 0 models trains nothing: use more, or omit it"),
        ("beam = 2", "beam = 999", "[search] beam 999 is larger than the space, which has "),
        ('"max3"]', '"max4"]', "unknown operation 'max4': did you mean max"),
    ],
)
def test_impossible_configurations(config: Path, data: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    config.write_text(CONFIG.replace(old, new))
    assert error_of(run("search", "run", config, data, "-o", tmp_path / "out")).startswith(f"{config}: {message}")


def test_impossible_options(config: Path, data: Path, tmp_path: Path) -> None:
    assert run("search", "run").exit_code == 2
    assert run("search", "run", config, data).exit_code == 2
    assert run("search", "run", config, data, "-o", tmp_path / "out", "--workers", "0").exit_code == 2
    message = usage_error_of(run("search", "run", config, data, "-o", tmp_path / "out", "--timeout", "0"))
    assert message == "a timeout of 0.0 s leaves no time to train: use a longer one, or omit it"
    assert usage_error_of(run("search", "run", "papr", data, "-o", tmp_path / "out")).startswith(
        "unknown configuration 'papr'"
    )
    assert "No such file" in error_of(run("search", "run", tmp_path / "a.toml", data, "-o", tmp_path / "out"))


def test_options_that_exclude_one_another(config: Path, data: Path, tmp_path: Path) -> None:
    for command in (("run", config, data, "-o", tmp_path / "out"), ("evaluate-predictors", tmp_path)):
        result = run("search", *command, "--gpus", "1")
        assert result.exit_code == 2
        assert "--gpus needs --address" in result.stderr


def test_comparison_of_missing_searches_and_bad_names(tmp_path: Path) -> None:
    message = error_of(run("search", "compare", tmp_path, "-o", tmp_path / "a.svg"))
    assert message == f"{tmp_path / JOURNAL} does not exist: use the folder of a search"
    assert "name a file that ends in .svg" in usage_error_of(
        run("search", "compare", tmp_path, "-o", tmp_path / "a.png")
    )
    assert "there is no folder" in error_of(run("search", "compare", tmp_path, "-o", tmp_path / "none/a.svg"))
    assert run("search", "compare", tmp_path).exit_code == 2
    message = usage_error_of(run("search", "compare", tmp_path, "--algorithm", "randon", "-o", tmp_path / "c.svg"))
    assert message == "unknown algorithm 'randon': did you mean random?"


@pytest.mark.parametrize(
    "option", [("--split", "train"), ("--workers", "2"), ("--timeout", "9"), ("--accelerator", "cpu")]
)
def test_options_of_training_need_it(tmp_path: Path, option: tuple[str, str]) -> None:
    result = run("search", "evaluate-predictors", tmp_path, *option)
    assert result.exit_code == 2
    assert f"{option[0]} needs --train: without it, no cell is trained\n" in result.stderr
