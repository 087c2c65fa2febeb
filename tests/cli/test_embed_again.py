"""`pnasnet embed` into an output that exists: resume, overwrite, add."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pnasnet.errors import OutputError

from tests.helpers.cli_runs import MODEL, PHOTOS, error_of, run, usage_error_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(PHOTOS, folder)
    return folder


def test_overwrite(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "f.parquet"
    output.write_text("old")
    assert run("embed", photos, *MODEL, "-o", output, "--overwrite").exit_code == 0
    assert len(pq.read_table(output)) == 4


def test_a_run_that_could_not_join_its_parts_joins_them_later(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("embed", photos, *MODEL, "-o", tmp_path / "f.parquet")

    def full(*_: object) -> None:
        raise OutputError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("pnasnet.extract.output._join", full)
        assert error_of(run(*command)) == "no room"
    written = f"{tmp_path}/f.parquet: already complete, with 4 rows; use --overwrite to start over\n"
    assert run(*command).stdout == written
    assert len(pq.read_table(tmp_path / "f.parquet")) == 4
    assert run(*command).stdout == written


def test_add_counts_old_new_and_vanished_inputs(tmp_path: Path, photos: Path) -> None:
    command = ("embed", photos, *MODEL, "-o", tmp_path / "out")
    (photos / "rocket.jpg").rename(tmp_path / "rocket.jpg")
    assert run(*command, "--add").stdout.startswith(f"{tmp_path}/out: 3 embedded, 0 failed, in ")
    (tmp_path / "rocket.jpg").rename(photos / "a.jpg")
    already = f"{tmp_path}/out: already complete, with 3 rows; use --add to look for new images\n"
    assert run(*command).stdout == already
    (photos / "coffee.jpg").unlink()
    (photos / "empty.jpg").touch()
    added = run(*command, "--add")
    assert added.exit_code == 3
    assert added.stdout.startswith(f"{tmp_path}/out: 1 embedded, 1 failed, in ")
    assert "; 3 rows of earlier runs; see " in added.stdout
    gone = f"no longer listed: 1 input of {tmp_path}/out; the rows are kept"
    assert gone in added.stderr.splitlines()
    names = ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "a.jpg", "empty.jpg"]
    assert pq.read_table(tmp_path / "out")["path"].to_pylist() == [f"{photos}/{name}" for name in names]
    again = run(*command, "--add")
    assert again.stdout == f"{tmp_path}/out: already complete, with 5 rows; nothing new is listed\n"
    notes = ["failed: 1 in earlier runs; see the column error, or try --retry-errors", gone]
    assert again.stderr.splitlines()[-2:] == notes


def test_a_failed_row_of_one_file_is_not_to_be_retried_by_an_option_that_needs_a_folder(
    tmp_path: Path, photos: Path
) -> None:
    (photos / "empty.jpg").touch()
    command = ("embed", photos, *MODEL, "-o", tmp_path / "f.parquet")
    assert run(*command).exit_code == 3
    again = run(*command)
    assert again.exit_code == 3
    assert again.stderr.splitlines()[-1] == "failed: 1 in earlier runs; see the column error"
    assert usage_error_of(run(*command, "--retry-errors")).startswith("--retry-errors needs a folder of parts")


def test_add_needs_a_folder(tmp_path: Path, photos: Path) -> None:
    message = usage_error_of(run("embed", photos, *MODEL, "-o", tmp_path / "f.parquet", "--add"))
    assert message.startswith(f"--add needs a folder of parts, and {tmp_path}/f.parquet is one file: name a folder")


def test_add_reads_the_list_again(tmp_path: Path, photos: Path) -> None:
    listed = tmp_path / "list.txt"
    command = ("embed", "--files-from", listed, *MODEL, "-o", tmp_path / "out")
    for names in (["rocket.jpg"], ["coffee.jpg", "rocket.jpg", "chelsea.jpg"]):
        listed.write_text("".join(f"{photos}/{name}\n" for name in names))
        assert run(*command, "--add").exit_code == 0
    rows = pq.read_table(tmp_path / "out")["path"].to_pylist()
    assert rows == [f"{photos}/{name}" for name in ("rocket.jpg", "coffee.jpg", "chelsea.jpg")]


@pytest.mark.parametrize("name", ["out", "f.parquet"])
def test_resume_needs_a_run_to_resume(tmp_path: Path, photos: Path, name: str) -> None:
    command = ("embed", photos, *MODEL, "-o", tmp_path / name, "--resume")
    folder = tmp_path / ("out" if name == "out" else "f.partial")
    assert f"nothing to resume: no run has started in {folder}" in error_of(run(*command))
    assert not folder.exists()
    unfinished = tmp_path / "unfinished"
    assert run("embed", photos, *MODEL, "-o", unfinished).exit_code == 0
    (unfinished / "_complete.json").unlink()
    next(unfinished.glob("part-*")).unlink()
    unfinished.rename(folder)
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / name}: 4 embedded, 0 failed")
    assert len(pq.read_table(tmp_path / name)) == 4


def test_resume_leaves_a_folder_of_others_alone(tmp_path: Path, photos: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    (others / "a.txt").write_text("precious")
    assert "holds other files (a.txt)" in error_of(run("embed", photos, *MODEL, "-o", others, "--resume"))
    assert [path.name for path in others.iterdir()] == ["a.txt"]


def test_the_report_stays_beside_a_file(tmp_path: Path, photos: Path) -> None:
    output = tmp_path / "f.parquet"
    for again in ((), ("--overwrite",)):
        result = run("embed", photos, *MODEL, "-o", output, *again)
        assert result.stdout.rstrip().endswith("f.report.html")
        assert "4 rows: 4 vectors" in (tmp_path / "f.report.html").read_text()
        assert json.loads((tmp_path / "f.report.json").read_text())["rows"] == 4
        names = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
        assert names == ["f.parquet", "f.report.html", "f.report.json"]


@pytest.mark.parametrize("mode", [(), ("--overwrite",), ("--add",)])
def test_a_folder_of_other_files_is_refused_before_the_model_is_opened(tmp_path: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    command: tuple[str | Path, ...] = ("embed", PHOTOS, "-m", tmp_path / "no model", "-o", tmp_path, *mode)
    assert error_of(run(*command)) == f"{tmp_path} holds other files (notes.txt): name a new folder or an empty one"
