"""What commands print: clean lines, file names in one spelling, and notes only if they are wanted."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.cli_runs import MODEL, PHOTOS, error_of, run, usage_error_of
from tests.helpers.vectors_data import write_features

HOSTILE = "a\x1b[31m\u202eb"
CLEAN = r"a\x1b[31m\u202eb"
NOT_UTF8 = os.fsdecode(b"bad\xe9.jpg")
CLASSIFIER = ("-m", "pnasnet_tiny", "--engine", "fake")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("embed", PHOTOS, *MODEL, "-o"), ".parquet"),
        (("embed", PHOTOS, *MODEL, "-o"), ""),
        (("convert", MODEL[1]), ".safetensors"),
        (("export", MODEL[1]), ".onnx"),
        (("export", MODEL[1], "--format", "saved_model"), ""),
    ],
)
def test_the_line_of_success_is_clean(arguments: tuple[str, ...], output: str) -> None:
    result = run(*arguments, f"{HOSTILE}{output}")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{CLEAN}{output}: ")
    assert result.output.replace("\n", "").isprintable()
    if arguments[0] == "embed":
        again = run(*arguments, f"{HOSTILE}{output}")
        assert again.stdout.startswith(f"{CLEAN}{output}: already complete")


def test_the_name_of_an_output_folder_that_exists_is_clean() -> None:
    Path(HOSTILE).mkdir()
    (Path(HOSTILE) / "notes.txt").write_text("mine")
    for option in ((), ("--overwrite",)):
        message = error_of(run("export", MODEL[1], HOSTILE, "--format", "saved_model", *option))
        assert message.startswith(CLEAN)


def test_names_that_are_not_utf8_have_one_spelling() -> None:
    Path(NOT_UTF8).write_text("no image")
    said = r"bad\xe9.jpg: not an image of a known format"
    classified, embedded = run("classify", NOT_UTF8, *CLASSIFIER), run("embed", NOT_UTF8, *MODEL, "-o", "f.parquet")
    for result in (classified, embedded):
        assert result.stderr.splitlines()[-1 if result is embedded else -2].startswith(f"failed: {said}")
    assert pq.read_table("f.parquet")["path"].to_pylist() == [r"bad\xe9.jpg"]
    (line,) = run("classify", NOT_UTF8, *CLASSIFIER, "--json").stdout.splitlines()
    assert json.loads(line)["path"] == r"bad\xe9.jpg"
    assert json.loads(line)["error"].startswith(said)
    Path(NOT_UTF8).unlink()
    for command in (("classify", NOT_UTF8, *CLASSIFIER), ("embed", NOT_UTF8, *MODEL, "-o", "g.parquet")):
        assert error_of(run(*command)) == r"'bad\xe9.jpg' does not exist: check the path"


def test_an_output_whose_name_is_not_utf8_is_refused_before_the_work() -> None:
    for name in (os.fsdecode(b"bad\xe9.parquet"), os.fsdecode(b"bad\xe9")):
        assert "its name is not UTF-8" in usage_error_of(run("embed", PHOTOS, *MODEL, "-o", name))
    assert not list(Path().iterdir())


def test_quiet_commands_print_no_notes() -> None:
    write_features(Path("f.parquet"), np.eye(4, 8, dtype=np.float32), [f"none/{index}.jpg" for index in range(4)])
    for command in (("similar", "none/0.jpg"), ("duplicates",), ("explore",)):
        arguments = (*command, "f.parquet", "--html", "page.html")
        arguments += ("--projection", "pca") if command == ("explore",) else ()
        assert run(*arguments).stderr
        quiet = run(*arguments, "-q").stderr.splitlines()
        assert [line for line in quiet if "could not be opened" not in line] == []
    assert "3 of 4 images not opened" in run("similar", "none/0.jpg", "f.parquet", "--html", "page.html").stderr
    Path("mixed").mkdir()
    (Path("mixed") / "photo.jpg").write_bytes((PHOTOS / "coffee.jpg").read_bytes())
    (Path("mixed") / "notes.txt").write_text("")
    assert "skipped" in run("embed", "mixed", *MODEL, "-o", "a").stderr
    assert run("embed", "mixed", *MODEL, "-o", "b", "-q").stderr == ""


def test_quiet_commands_print_failures() -> None:
    Path("a.jpg").write_text("no image")
    assert run("embed", "a.jpg", *MODEL, "-o", "f.parquet", "-q").stderr.startswith("failed: a.jpg")
    assert run("classify", "a.jpg", *CLASSIFIER, "-q").stderr.startswith("failed: a.jpg")


def test_no_output_replaces_its_source() -> None:
    pq.write_table(pa.table({"image": [(PHOTOS / "coffee.jpg").read_bytes()]}), "photos.parquet")
    before = Path("photos.parquet").read_bytes()
    for option in ((), ("--overwrite",)):
        message = error_of(run("embed", "photos.parquet", *MODEL, "-o", "photos.parquet", *option))
        assert message == "cannot write photos.parquet: it is also an input; choose another name"
    Path("figures.json").symlink_to("photos.parquet")
    assert "it is also an input" in error_of(run("evaluate", "pnasnet_tiny", "photos.parquet", "-o", "figures.json"))
    assert run("convert", MODEL[1], "w.safetensors").exit_code == 0
    assert "it is also an input" in error_of(run("convert", "w.safetensors", "w.safetensors", "--float16"))
    assert Path("photos.parquet").read_bytes() == before
