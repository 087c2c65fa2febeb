"""The notebooks run, without a network and in little time; their outputs are in the repository."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
NEEDED = {"own-classes": "sklearn", "cell-search": "pytorch_lightning"}
FILES = ("examples/unpack.py", "tests/golden/cifar10_400.parquet")
PHOTOS = "examples/photos"


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["cell-search", "features-and-search", "own-classes"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(outputs) >= 5
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert path.stat().st_size < 300_000
    assert "/tmp/" not in path.read_text("utf-8"), "a path of one machine"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    if path.stem in NEEDED:
        pytest.importorskip(NEEDED[path.stem])
    for file in (path.relative_to(ROOT).as_posix(), *FILES):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    shutil.copytree(ROOT / PHOTOS, tmp_path / PHOTOS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(tmp_path / path.relative_to(ROOT), 4)
    folder = {"metadata": {"path": str(tmp_path / "docs/notebooks")}}
    client = nbclient.NotebookClient(notebook, timeout=600, startup_timeout=120, resources=folder)
    client.execute()  # ends the kernel, whatever happens
