"""Every option and argument of every command with values that nobody means: one line, and nothing is written before."""

import random
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from tests.cli.test_app import COMMANDS
from tests.cli.test_numbers import OPTIONS as NUMBERS
from tests.helpers.cli_runs import MODEL, PHOTOS, run, usage_error_of
from tests.helpers.vectors_data import write_features

PHOTO = str(PHOTOS / "coffee.jpg")
GIVEN = {
    ("embed",): (PHOTO, "-o", "out.parquet", *MODEL),
    ("classify",): (PHOTO, *MODEL),
    ("similar",): ("a", "f.parquet"),
    ("duplicates",): ("f.parquet",),
    ("explore",): ("f.parquet", "--projection", "pca", "--html", "out.html"),
    ("finetune",): ("missing", "-o", "out", *MODEL, "--full"),
    ("evaluate",): (MODEL[1], "missing", *MODEL[2:]),
    ("train",): ("cifar10_short", "missing", "-o", "out"),
    ("search", "run"): ("two_cores", "missing", "-o", "out"),
    ("search", "report"): ("missing",),
    ("search", "compare"): ("missing", "-o", "out.svg"),
    ("search", "describe"): ("two_cores",),
    ("search", "evaluate-predictors"): ("missing",),
    ("serve",): ("missing",),
    ("models",): ("pnasnet_tiny",),
    ("convert",): (MODEL[1], "out.safetensors"),
    ("quantize",): ("pnasnet_tiny", "missing", "-o", "out"),
    ("export",): ("pnasnet_tiny", "out.onnx"),
}
"""Arguments with which a command does its work, or finds at once that an input is missing."""
SILLY = (
    *("", "-", ".", "..", "../..", "~", "~nobody", "*", "[", "{}", "0", "-1", "nan", "=1+1", "a,b", "a:b:c", "a\nb"),
    *("x" * 5000, "x/" * 300, "\udcff", "\x1b[31mred", "\u202eabc", "/dev/null", "/dev/full", "folder", "file"),
    *("file/x", "file://", "https://", "s3://", "hf:", "nothing.parquet", "nothing.toml", "nothing.safetensors"),
)
NOT_RUN = {("embed", "--address"), ("serve", "--address"), ("search", "--address"), ("serve", "--host")}
"""These connect to clusters or listen."""
RAW = ("Error:", "Errno", "Exception", "Traceback", "object at 0x")
SIGNS = "\x1b\u202e\r"


def cases() -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield a command, one of its options or the place of an argument, and some silly values of it."""
    draw = random.Random(13)
    for words, command in COMMANDS.items():
        places = iter(range(9))
        for each in command.params:
            if isinstance(each, click.Option):
                name = each.opts[-1]
                if each.is_flag or (*words, name) in NUMBERS or (words[0], name) in NOT_RUN:
                    continue
            else:
                name = str(next(places))
            for value in draw.sample(SILLY, 2):
                yield words, name, value


def arguments(words: tuple[str, ...], name: str, value: str) -> list[str]:
    """Return a command line in which one option or argument has another value."""
    given = list(GIVEN[words])
    if name.isdecimal():
        place = int(name)
        if value.startswith("-") and value != "-":
            value = f"./{value}"
        return [*words, *given[:place], value, *given[place + 1 :]]
    shorts = [each for each in given if each in ("-o", "-m", "--html", "--projection", "--model", "--engine")]
    option = next(each for each in COMMANDS[words].params if each.opts[-1] == name)
    for short in shorts:
        if short in option.opts:
            given[given.index(short) + 1] = value
            return [*words, *given]
    return [*words, *given, f"{name}={value}"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("silly") / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x\n")
    (folder / "folder").mkdir()
    (folder / "folder" / "x").write_text("y\n")
    write_features(folder / "f.parquet", np.eye(3, 8, dtype=np.float32), ["a", "b", "c"])
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.parents[1].rglob("*")}


@pytest.mark.parametrize(("words", "name", "value"), list(cases()))
def test_silly_values(
    words: tuple[str, ...], name: str, value: str, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    before = contents(inputs)
    result = run(*arguments(words, name, value))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2, 3)
    assert not [sign for sign in SIGNS if sign in result.output]
    after = contents(inputs)
    for path in sorted(after.keys() - before.keys(), reverse=True):
        (Path(path).rmdir if Path(path).is_dir() else Path(path).unlink)()
    if result.exit_code in (1, 2):
        lines = [line for line in result.stderr.splitlines() if line.lower().startswith("error: ")]
        assert len(lines) == 1, result.stderr
        text = lines[0].partition(": ")[2].replace(value, "")
        assert not [word for word in RAW if word in text], lines[0]
        assert after == before, "something was written before the refusal"


@pytest.mark.parametrize("host", ["", "http://a.example", "a.example:80"])
@pytest.mark.parametrize(
    "words", [words for words, each in COMMANDS.items() if any("--allow-url-host" in one.opts for one in each.params)]
)
def test_hosts_that_are_none(words: tuple[str, ...], host: str, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inputs)
    error = usage_error_of(run(*words, *GIVEN[words], f"--allow-url-host={host}"))
    assert error == f"{host!r} is not a host: write its name or address alone, such as images.example"
