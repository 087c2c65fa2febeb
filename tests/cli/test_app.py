"""The command line as a whole: help, version, starting time, exit codes, errors."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pnasnet import __version__
from pnasnet.cli import main
from pnasnet.cli.errors import to_failure
from pnasnet.errors import OutputError

from tests.helpers.cli_runs import run
from tests.helpers.waiting import limited


def leaves(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(leaves(main))


def test_help_lists_commands_and_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for text in (*(words[0] for words in COMMANDS), "Exit codes:", "3    done, but some images failed"):
        assert text in result.output


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command_fits_the_line_and_has_an_example(words: tuple[str, ...]) -> None:
    output = run(*words, "--help").output
    assert f"  pnasnet {' '.join(words)}" in output.split("Options:")[0].split("\n", 1)[1]
    assert max(map(len, output.splitlines())) <= 100


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_explained_in_plain_english(words: tuple[str, ...]) -> None:
    for option in COMMANDS[words].params:
        if isinstance(option, click.Option):
            assert option.help, option.name
    output = " ".join(run(*words, "--help").output.split())
    for phrase in ("what is there", "begin anew", "that it takes", "where it is not", "is told"):
        assert phrase not in output


def test_options_are_spelt_alike_in_all_commands() -> None:
    """An option has the same short form wherever it is, and a short form the same option."""
    spellings: dict[str, set[tuple[str, ...]]] = {}
    for command in COMMANDS.values():
        for option in command.params:
            if isinstance(option, click.Option):
                for name in option.opts:
                    spellings.setdefault(name, set()).add(tuple(option.opts))
    several = {name: found for name, found in spellings.items() if len(found) > 1}
    assert several == {"--top": {("--top",), ("-k", "--top")}}  # -k only where there are neighbours


def test_version() -> None:
    assert run("--version").output == f"pnasnet {__version__}\n"


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        ("--help", "numpy huggingface_hub openvino pyarrow torch onnx PIL tqdm"),
        ("models", "openvino pyarrow torch onnx PIL"),
    ],
)
def test_quick_start_without_heavy_imports(command: str, heavy: str) -> None:
    code = f"""if True:
        import sys
        from pnasnet.cli import main
        main([{command!r}], standalone_mode=False)
        assert not (loaded := set({heavy!r}.split()) & set(sys.modules)), loaded
    """
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=300)


def test_usage_error() -> None:
    result = run("embed", "--nonsense")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.parametrize(
    ("error", "message", "exit_code"),
    [
        (OutputError("full"), "full", 1),
        (FileNotFoundError(2, "No such file or directory", "x/y"), "x/y: No such file or directory", 1),
        (OSError(28, "No space left on device"), "No space left on device", 1),
        (OSError("odd"), "OSError: odd", 1),
        (MemoryError(), "not enough memory; use smaller batches or a smaller model", 1),
        (KeyboardInterrupt(), "interrupted", 130),
        (RuntimeError("a bug"), "RuntimeError: a bug", 1),
    ],
)
def test_every_error_becomes_a_line_with_its_notes(
    error: BaseException,
    message: str,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    error.add_note("and a note")
    failure = to_failure(error)
    assert (failure.message, failure.exit_code) == (message, exit_code)
    failure.show()
    assert capsys.readouterr().err == f"error: {message}\nand a note\n"


def test_closed_pipe_is_quiet() -> None:
    command = [sys.executable, "-m", "pnasnet", "models"]
    pipe = subprocess.PIPE
    with limited(subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNASNET_TRACEBACK", "1")
    assert type(run("embed", "nowhere", "-o", "x").exception).__name__ == "InputError"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models"], ["embed", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_results_that_cannot_be_written_are_one_line(arguments: list[str], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "pnasnet", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
            timeout=300,
        )
    assert done.returncode == 1
    assert done.stderr in (
        "error: cannot write to standard output: No space left on device\n",
        "error: No space left on device\n",
    )


@pytest.mark.parametrize(("arguments", "code"), [("embed tests/photos", 0), ("embed nowhere", 1), ("nonsense", 2)])
def test_closed_standard_error_changes_nothing(arguments: str, code: int, tmp_path: Path) -> None:
    command = f"{sys.executable} -m pnasnet {arguments} -m pnasnet_tiny -o {tmp_path}/a.parquet 2>&-"
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode == code
    assert (tmp_path / "a.parquet").exists() == (code == 0)
    assert ("4 embedded" in done.stdout) == (code == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("embed", "x", "-o", "out", "--endpoint", "Logits", "--endpoint", "Logits"), "'--endpoint': Logits is given"),
        (("embed", "x", "-o", "out", "--with", "a", "--with", "a"), "'--with': a is given twice"),
        (("export", "x", "m.onnx", "--endpoint", "a", "--endpoint", "a"), "'--endpoint': a is given twice"),
        (("search", "compare", "x", "-o", "c.svg", "--top", "2", "--top", "2"), "'--top': 2 is given twice"),
        (("embed", "x", "-o", "out", "--root", "none"), "'--root': Directory 'none' does not exist"),
        (("similar", "x", "y", "--root", "none"), "'--root': Directory 'none' does not exist"),
    ],
)
def test_values_given_twice_and_roots_that_are_no_folders_are_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
