"""The commands of docs/transfer-learning.md do what the page says, on a tenth of the images."""

import io
import re
import shlex
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pnasnet.architecture.labels import labels

from tests.helpers.cli_runs import run

HERE = Path(__file__).parents[1]
PAGE = HERE.parent / "docs/transfer-learning.md"
IMAGES = HERE / "golden/cifar10_400.parquet"
SHARES = {"animals": slice(0, 30), "more_animals": slice(30, 40)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the images of the page's example, in five classes."""
    classes, rows = labels("cifar10"), pq.read_table(IMAGES).to_pylist()
    for name in ("bird", "cat", "deer", "dog", "frog"):
        own = [row["image"]["bytes"] for row in rows if classes[row["label"]] == name]
        for part, share in SHARES.items():
            (tmp_path / part / name).mkdir(parents=True)
            for number, content in enumerate(own[share], 1):
                Image.open(io.BytesIO(content)).save(tmp_path / part / name / f"{number:04}.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
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
    paths = sorted(Path("animals").rglob("*.jpg"))
    Path("labels.csv").write_text("path,label\n" + "".join(f"{path},{path.parent.name}\n" for path in paths))
    (code,) = (
        each for each in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "labels=" in each
    )
    exec(textwrap.dedent(code), {})
    assert float(capsys.readouterr().out) > 0.5


def shape(lines: list[str]) -> list[str]:
    """Return lines without what depends on images, machine and time."""
    names = "|".join(("airplane", "automobile", *labels("cifar10")[2:]))
    without_paths = [re.sub(r"(?<=^animals/)\S+", "PATH", line) for line in lines]
    plain = [re.sub(rf"\b({names})\b", "CLASS", re.sub(r"[\d.,]+", "0", line)) for line in without_paths]
    return [re.sub(r" +", " ", re.sub(r"(SHA-0 \w+|OpenVINO.*|engine .*)", "X", line)) for line in plain]
