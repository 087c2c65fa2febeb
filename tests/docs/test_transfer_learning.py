"""The commands of docs/transfer-learning.md do what the page says."""

import re
import shlex
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.helpers.cli_runs import HERE, run

PAGE = HERE.parent / "docs/transfer-learning.md"
CLASSES = ("buildings", "fish", "mammals", "tools", "windmills")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the images of the page's example, sorted as the page does it."""
    (tmp_path / "examples").symlink_to(HERE.parent / "examples")
    monkeypatch.chdir(tmp_path)
    (sort,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    subprocess.run(["bash", "-e", "-c", sort], check=True, timeout=60)
    count = re.search(r"(\d+) photos are few", PAGE.read_text("utf-8"))
    assert count
    assert len(list(tmp_path.glob("photos/*/*.jpg"))) == int(count[1])
    return tmp_path


def test_the_three_commands(folder: Path) -> None:
    blocks = re.findall(r"```\n(\$ .*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    commands = {}
    for block in blocks:
        line, *printed = [each for each in block.splitlines() if not each.startswith("$ pip ")]
        commands[line.removeprefix("$ pnasnet ")] = printed
    assert [command.split()[0] for command in commands] == ["finetune", "classify", "evaluate"]
    for command, printed in commands.items():
        done = run(*shlex.split(command))
        assert done.exit_code == 0, done.output
        assert shape(done.stdout.splitlines()) == shape(printed)[-len(done.stdout.splitlines()) :], command
    assert (folder / "model/report.html").exists()


def test_labels_in_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = sorted(Path("photos").rglob("*.jpg"))
    Path("labels.csv").write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in paths))
    (code,) = (
        each for each in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "labels=" in each
    )
    exec(textwrap.dedent(code), {})
    assert float(capsys.readouterr().out) > 0.5


def shape(lines: list[str]) -> list[str]:
    """Return lines without what depends on the machine and the time, and without the figures."""
    plain = [re.sub(rf"\b({'|'.join(CLASSES)})\b(?!/)", "CLASS", re.sub(r"[\d.,]+", "0", line)) for line in lines]
    return [re.sub(r" +", " ", re.sub(r"(SHA-0 \w+|OpenVINO.*|engine .*)", "X", line)) for line in plain]
