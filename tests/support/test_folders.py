"""Folders written whole or not at all."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pnasnet.errors import OutputError
from pnasnet.support.folders import check_new_folder, replacing_folder

FILES = ("1/model",)


def fill(folder: Path, text: str) -> None:
    (folder / "1").mkdir()
    (folder / "1" / "model").write_text(text)


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new/1/model").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")
    assert (tmp_path / "new/1/model").read_text() == "one"


def test_a_failure_leaves_the_existing_file(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")

    def fail() -> None:
        with replacing_folder(tmp_path / "new", FILES, overwrite=True) as folder:
            fill(folder, "two")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        fail()
    assert (tmp_path / "new/1/model").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_killed_process_leaves_the_old_folder(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")
    script = (
        "import os, sys; from pathlib import Path; from pnasnet.support.folders import replacing_folder\n"
        "with replacing_folder(Path(sys.argv[1]), ['1/model'], overwrite=True) as folder:\n"
        "    (folder / '1').mkdir(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "new"], check=False, timeout=600)
    assert killed.returncode == -9
    assert (tmp_path / "new/1/model").read_text() == "one"
    (left,) = (path for path in tmp_path.iterdir() if path.name != "new")
    assert left.name.startswith(".")
    os.utime(left, (time.time() - 7200,) * 2)
    with replacing_folder(tmp_path / "new", FILES, overwrite=True) as folder:
        fill(folder, "two")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_an_old_folder_returns_if_the_new_one_cannot_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")
    rename, moves = Path.rename, []

    def fail(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        replacing_folder(tmp_path / "new", FILES, overwrite=True) as folder,
    ):
        fill(folder, "two")
    assert (tmp_path / "new/1/model").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_temporaries_of_killed_runs_are_removed_after_an_hour(tmp_path: Path) -> None:
    stale, live, other = (tmp_path / f".{token}.{name}" for token, name in
                          (("0a1b2c3d", "new"), ("1a1b2c3d", "new"), ("0a1b2c3d", "other")))  # fmt: skip
    for folder in (stale, live, other):
        fill_in = folder / "1"
        fill_in.mkdir(parents=True)
    for folder in (stale, other):
        os.utime(folder, (time.time() - 7200,) * 2)
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")
    assert {path.name for path in tmp_path.iterdir()} == {"new", live.name, other.name}


def test_a_link_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    fill(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real")
    with replacing_folder(tmp_path / "link", FILES, overwrite=True) as folder:
        fill(folder, "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/1/model").read_text() == "two"


def test_paths_that_cannot_be_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").symlink_to("nowhere")
    for name, message in (("file", "it is a file"), ("none/new", "create it first"), ("broken", "it is a file")):
        with pytest.raises(OutputError, match=message):
            check_new_folder(tmp_path / name, FILES)


@pytest.mark.parametrize("other", ["notes.txt", "1/notes.txt", "empty/", "1/link"])
def test_files_that_would_be_lost_are_seen_before_the_work(tmp_path: Path, other: str) -> None:
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")
    path = tmp_path / "new" / other
    if other == "1/link":
        path.symlink_to("nowhere")
    elif other.endswith("/"):
        path.mkdir()
    else:
        path.write_text("mine")
    with pytest.raises(OutputError, match=f"new also holds {other.rstrip('/')}, which would be lost"):
        check_new_folder(tmp_path / "new", FILES, overwrite=True)


def test_a_file_that_comes_during_the_work_is_kept(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "new", FILES) as folder:
        fill(folder, "one")

    def write() -> None:
        with replacing_folder(tmp_path / "new", FILES, overwrite=True) as folder:
            fill(folder, "two")
            (tmp_path / "new" / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match="which would be lost"):
        write()
    assert (tmp_path / "new/1/model").read_text() == "one"
    assert (tmp_path / "new/notes.txt").read_text() == "mine"
