"""Completion in the shell: Click's protocol in a process of its own, the scripts, and what each value completes to."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pnasnet.architecture.zoo import NETWORKS
from pnasnet.cli import main, values
from pnasnet.cli.completion import SHELLS
from pnasnet.cli.numbers import Real, Whole

from tests.helpers.cli_runs import run

FREE = {
    "split", "validation_split", "image_column", "column", "names", "name", "hosts", "host", "origins",
}  # fmt: skip
"""Parameters whose values only the user or the data knows."""


def ask(words: str, shell: str = "bash", **environment: str) -> list[tuple[str, str]]:
    """Return the kind and the value of each completion of the last of the words."""
    asked = {"_PNASNET_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    if shell == "fish":
        asked["COMP_CWORD"] = words.rpartition(" ")[2]
    done = subprocess.run(
        [sys.executable, "-m", "pnasnet"], env={**os.environ, **asked, **environment}, timeout=120, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    if shell == "zsh":
        return list(zip(lines[::3], lines[1::3], strict=True))
    pairs = (line.partition("\t")[0].partition(",") for line in lines)
    return [(kind, value) for kind, _, value in pairs]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_is_answered_with_names_and_paths(shell: str) -> None:
    found = ask("pnasnet classify --model pnasnet_", shell)
    assert found[0] == ("file", "pnasnet_")
    assert {value for kind, value in found if kind == "plain"} == {
        name for name in NETWORKS if name.startswith("pnasnet_") and NETWORKS[name].weights
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("pnasnet clas", ["classify"]),
        ("pnasnet embed --engine ", ["auto", "openvino", "torch"]),
        ("pnasnet embed --preset ", ["hub", "slim", "timm"]),
        ("pnasnet embed --model pnasnet_tiny --endpoint Cell_", ["Cell_0", "Cell_1", "Cell_2", "Cell_3"]),
        ("pnasnet embed --endpoint Cell_", ["Cell_0", "Cell_1", "Cell_2", "Cell_3"]),
        ("pnasnet export pnasnet_mobile out.onnx --endpoint Cell_8", ["Cell_8"]),
        ("pnasnet embed -m some/folder --endpoint ", ["global_pool", "Logits", "Predictions"]),
        ("pnasnet export a b --format o", ["onnx", "openvino", "ovms"]),
        ("pnasnet train --show c", ["cifar10", "cifar10_short"]),
        ("pnasnet search describe t", ["two_cores"]),
        ("pnasnet embed -m pnasnet_mobile -w p", ["pnasnet-5_mobile_2017_12_13"]),
        ("pnasnet finetune d --accelerator ", ["auto", "cpu", "gpu"]),
        ("pnasnet finetune d --devices ", ["auto"]),
        ("pnasnet --show-completion ", list(SHELLS)),
        ("pnasnet classify --engine = op", ["openvino"]),
        ("pnasnet classify --engine =", ["auto", "openvino", "torch"]),
    ],
)
def test_values(words: str, expected: list[str]) -> None:
    assert [value for kind, value in ask(words) if kind == "plain"] == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_an_option_in_one_word_with_its_value_stays(shell: str) -> None:
    assert ask("pnasnet classify --engine=op", shell) == [("plain", "--engine=openvino")]


def test_completion_imports_no_library_of_arrays() -> None:
    code = """if True:
        import sys
        from pnasnet.cli import main
        try:
            main(prog_name="pnasnet")
        finally:
            print(sorted({"numpy", "torch", "openvino", "pyarrow", "PIL", "onnx"} & set(sys.modules)))
    """
    for words in ("pnasnet classify -m p", "pnasnet embed --endpoint ", "pnasnet train ", "pnasnet search run "):
        asked = {"_PNASNET_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **asked}, timeout=120, text=True, capture_output=True,
            check=True,
        )  # fmt: skip
        assert len(done.stdout.splitlines()) > 3
        assert done.stdout.splitlines()[-1] == "[]"


def test_the_names_are_the_library_s() -> None:
    from pnasnet import engines
    from pnasnet.extract import options
    from pnasnet.images.presets import PRESETS
    from pnasnet.module.export import FORMATS
    from pnasnet.search import config, config_file, predictors
    from pnasnet.training import machine
    from pnasnet.vectors import projection

    assert [*values.ENGINES, "fake"] == list(engines.ENGINES)
    assert [*values.PRECISIONS, "float16", "int8"] == list(engines.PRECISIONS)
    assert list(values.PRECISIONS) == list(machine.PRECISIONS)
    assert list(values.PRESETS) == list(PRESETS)
    assert values.VECTORS == options.VECTORS
    assert values.FORMATS == FORMATS
    assert values.PROJECTIONS == projection.PROJECTIONS
    assert values.ACCELERATORS == machine.ACCELERATORS
    assert list(values.LOGGERS) == list(machine.LOGGERS)
    assert values.ALGORITHMS == config.ALGORITHMS
    assert values.PREDICTORS == predictors.NAMES
    assert values.CONFIGURATIONS == config_file.CONFIGS


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_every_value_that_can_be_known_is_completed() -> None:
    mute = []
    for path, command in commands(main):
        context = click.Context(command, info_name=path, resilient_parsing=True)
        for parameter in command.params:
            free = parameter.name in FREE or isinstance(parameter.type, Whole | Real)
            if not (free or getattr(parameter, "is_flag", False) or parameter.shell_complete(context, "")):
                mute.append(f"{path} {parameter.name}")
    assert mute == []


BASH = """
source "$1"
COMP_WORDS=(pnasnet classify --model "$2") COMP_CWORD=3
_pnasnet_completion pnasnet 2> /dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_offers_names_and_paths_together(tmp_path: Path) -> None:
    (tmp_path / "pnasnet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pnasnet "$@"\n')
    (tmp_path / "pnasnet").chmod(0o755)
    (tmp_path / "w/pnasnet_l of mine").mkdir(parents=True)
    (tmp_path / "script").write_text(run("--show-completion", "bash").stdout)
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", tmp_path / "script", "pnasnet_l"], cwd=tmp_path / "w", timeout=120,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["pnasnet_l of mine", "pnasnet_large"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty home, without a shell."""
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR", "SHELL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "my home").mkdir()
    return tmp_path / "my home"


@pytest.mark.parametrize(("shell", "startup"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_install_adds_one_line_once(home: Path, shell: str, startup: str) -> None:
    (home / startup).write_text("alias ll='ls -l'")
    assert run("--install-completion", shell).exit_code == 0
    again = run("--install-completion", shell)
    script = home / f".local/share/pnasnet/completion.{shell}"
    assert again.stdout == f"{script}: written\nOpen a new {shell} to use it.\n"
    assert script.read_text() == run("--show-completion", shell).stdout
    lines = (home / startup).read_text().splitlines()
    assert (len(lines), lines[0]) == (2, "alias ll='ls -l'")
    assert f". '{script}'" in lines[1]
    if found := shutil.which(shell):
        subprocess.run([found, "-c", f". '{home / startup}'"], timeout=60, check=True, env={**os.environ})


def test_install_for_the_shell_in_use(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/local/bin/fish")
    assert run("--install-completion").stdout.splitlines()[-1] == "Open a new fish to use it."
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["pnasnet.fish"]
    assert (home / ".config/fish/completions/pnasnet.fish").read_text() == run("--show-completion").stdout


def test_unknown_shells_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot tell the shell from $SHELL: add bash, zsh or fish" in run("--show-completion").stderr
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run("--install-completion").exit_code == 2
    assert "there is no completion for 'nu'" in run("--install-completion", "nu").stderr
    (home / ".local").write_text("")
    result = run("--install-completion", "bash")
    assert (result.exit_code, list(home.iterdir())) == (1, [home / ".local"])
    assert result.stderr.startswith("error: cannot write ")
