"""docs/training.md: the example of one's own network on one's own data does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

from pnasnet import Module

from tests.helpers.cli_runs import HERE, run
from tests.helpers.train_data import write

PAGE = (HERE.parent / "docs/training.md").read_text()
SECTION = PAGE[PAGE.index("### Train your own network") : PAGE.index("## Guarantees")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


@pytest.mark.slow
def test_own_network_on_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("photos/train"), 64, ("cat", "dog"))
    write(Path("photos/test"), 16, ("cat", "dog"))
    (toml,) = blocks("toml")
    Path("mine.toml").write_text(toml)
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *arguments = line.split()
        assert program == "pnasnet"
        result = run(*arguments)
        assert result.exit_code == 0, result.output
    model = Module("runs/mine/model.safetensors").model
    assert (model.name, model.labels) == ("mine", ("cat", "dog"))
    assert [block[0] for block in model.spec.cell.blocks] == ["sep3", "dil3"]
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["trained"].fitted.history) == 12
    assert names["trained"].validation_top1 > 0.5
