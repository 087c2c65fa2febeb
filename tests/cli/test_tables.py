"""Tables and lines as wide as the terminal."""

import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from wcwidth import width

from pnasnet.architecture.zoo import PUBLISHED
from pnasnet.cli.tables import TableColumn, first_words, last_folders, note_left_out, print_line, print_table

from tests.helpers.cli_runs import run
from tests.helpers.vectors_data import clustered, write_features

FULL = 99
"""Width of the widest table of `pnasnet models`."""


def fill(monkeypatch: pytest.MonkeyPatch, columns: int | None) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(columns))


@pytest.mark.parametrize("columns", [FULL, 80, 72, 60, 42])
def test_models_fit_and_keep_their_names(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    fill(monkeypatch, columns)
    result = run("models")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    names = {line.split()[0] for line in lines if line}
    assert set(PUBLISHED) <= names
    fill(monkeypatch, None)
    titles = {
        title
        for line in run("models").stdout.splitlines()
        if line[:6] in ("model ", "weight")
        for title in line.split()
    }
    shown = {title for line in lines if line[:6] in ("model ", "weight") for title in line.split()}
    noted = {
        title for line in result.stderr.splitlines() for title in line.partition(": ")[2].partition(";")[0].split(", ")
    }
    assert titles - shown <= noted
    assert (result.stderr == "") is (columns >= FULL)


def test_a_pipe_gets_every_column_and_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch, None)
    result = run("models")
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) == FULL


def in_terminal(columns: int, *arguments: str) -> str:
    """Return what the command prints to a terminal of that width."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pnasnet", *arguments], stdout=its, stderr=subprocess.DEVNULL, stdin=its, env=environment
    )
    os.close(its)
    try:
        printed = b"".join(iter(lambda: read(ours), b""))
        assert process.wait(60) == 0
        return printed.decode().replace("\r", "")
    finally:
        process.kill()
        process.wait(60)
        os.close(ours)


def read(terminal: int) -> bytes:
    """Return what has been printed, waiting for it for a while; nothing once the program has ended."""
    assert select.select([terminal], [], [], 120)[0], "the command printed nothing for two minutes"
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux reports the end of a terminal
        return b""


def test_a_real_terminal_is_filled() -> None:
    assert max(map(len, in_terminal(66, "models").splitlines())) <= 66
    assert max(map(len, in_terminal(120, "models").splitlines())) == FULL


def test_similar_leaves_out_folders_not_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "/home/somebody/pictures/2024/summer"
    names = [f"{folder}/a.jpg", f"{folder}/日本の夏の日の写真.jpg", "/x.jpg", f"{folder}/{'long' * 20}.jpg"]
    features = write_features(tmp_path / "features.parquet", clustered(5, 10), [*names, "/query.jpg"])
    fill(monkeypatch, None)
    assert {line.split()[-1] for line in run("similar", "/query.jpg", features).stdout.splitlines()[1:]} == set(names)
    fill(monkeypatch, 40)
    lines = run("similar", "/query.jpg", features).stdout.splitlines()[1:]
    shown = {line.split()[-1] for line in lines}
    assert shown == {"…/pictures/2024/summer/a.jpg", "…/日本の夏の日の写真.jpg", "/x.jpg", f"…/{'long' * 20}.jpg"}
    assert all(width(line) <= 40 for line in lines if "long" not in line)


def test_wide_characters_are_aligned(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch, None)
    print_table(
        (TableColumn("name"), TableColumn("n", right=True)), [("日本", "1"), ("cafe\u0301", "23"), ("plain", "4")]
    )
    lines = capsys.readouterr().out.splitlines()
    assert {width(line) for line in lines} == {9}
    assert lines[1] == "日本    1"


def test_cells_and_lines_are_cleaned(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch, None)
    print_table((TableColumn("a"), TableColumn("b")), [("\x1b[2J", "red"), ("plain", "blue")], titles=False)
    print_line("name  a\u202eb\nc")
    assert capsys.readouterr().out.splitlines() == [r"\x1b[2J  red", "plain    blue", r"name  a\u202eb\nc"]


def test_columns_are_left_out_by_rank(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (
        TableColumn("class", shorten=first_words),
        TableColumn("images", rank=1),
        TableColumn("interval", rank=2),
    )
    rows = [("Egyptian cat", "12", "1 to 2"), ("dog", "3", "")]
    fill(monkeypatch, 24)
    note_left_out(print_table(columns, rows))
    printed = capsys.readouterr()
    assert printed.out == "class         images\nEgyptian cat  12\ndog           3\n"
    assert printed.err == "left out to fit 24 columns: interval; --json shows them\n"
    fill(monkeypatch, 11)
    note_left_out([*print_table(columns, rows), *print_table(columns, rows, titles=False)])
    printed = capsys.readouterr()
    assert printed.out == "class\nEgyptian …\ndog\nEgyptian …\ndog\n"
    assert printed.err == "left out to fit 11 columns: images, interval; --json shows them\n"
    note_left_out(print_table(columns, []) and print_table(columns, [], titles=False))
    assert capsys.readouterr() == ("class\n", "")


def test_columns_are_shortened_in_turn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (TableColumn("path", shorten=last_folders), TableColumn("class", shorten=first_words))
    rows = [("a/folder/of/x.jpg", "Egyptian cat")]
    fill(monkeypatch, 24)
    print_table(columns, rows, titles=False)
    fill(monkeypatch, 18)
    print_table(columns, rows, titles=False)
    assert capsys.readouterr().out == "…/of/x.jpg  Egyptian cat\n…/x.jpg  Egyptian …\n"


@pytest.mark.parametrize("columns", ["", "0", "-4", "wide", "9" * 5000])
def test_columns_that_are_no_width_are_ignored(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = run("models")
    assert (result.exit_code, result.stderr, max(map(len, result.stdout.splitlines()))) == (0, "", FULL)


def test_lines_break_between_words_below_their_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "engine  OpenVINO 2026.4, CPU (an-unbreakable-name-of-a-processor), float32"
    fill(monkeypatch, None)
    print_line(line)
    assert capsys.readouterr().out == f"{line}\n"
    fill(monkeypatch, 24)
    print_line(line)
    assert capsys.readouterr().out.splitlines() == [
        "engine  OpenVINO 2026.4,",
        "        CPU",
        "        (an-unbreakable-name-of-a-processor),",
        "        float32",
    ]
    print_line("")
    print_line("no label at all, and two words more")
    assert capsys.readouterr().out.splitlines() == ["", "no label at all, and two", "words more"]


@pytest.mark.parametrize(
    ("path", "room", "shown"),
    [
        ("a/b/c.jpg", 9, "a/b/c.jpg"),
        ("a/b/c.jpg", 8, "…/c.jpg"),
        ("abc/b/c.jpg", 9, "…/b/c.jpg"),
        ("name.jpg", 3, "name.jpg"),
    ],
)
def test_paths_keep_their_names(path: str, room: int, shown: str) -> None:
    assert last_folders(path, room) == shown
