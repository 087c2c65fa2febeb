"""The Python blocks of README.md and the docs run as written, in order, beside the files that they name."""

import re
import shutil
import tarfile
from pathlib import Path

import pytest

from pnasnet import Module

from tests.helpers.cli_runs import HERE, PHOTOS, run

ROOT = HERE.parent
NOT_RUN = "<!-- not run by the tests: "
TESTED_ELSEWHERE = {"docs/training.md", "docs/vectors.md", "docs/integrations.md", "docs/from-tf-hub.md"}
"""Pages whose results are checked, too, in tests/docs/test_training.py, test_vectors.py and so on."""


def blocks(page: Path) -> list[str]:
    """Return the Python blocks of a page that are to be run."""
    found = re.findall(r"(^<!-- .*\n)?^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [code for comment, code in found if not comment.startswith(NOT_RUN)]


PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
    if blocks(page)
    and page.relative_to(ROOT).as_posix() not in TESTED_ELSEWHERE
    and page.parent.name != "tutorials"  # tests/docs/test_tutorials.py
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("photo.jpg", "a.jpg"):
        shutil.copy(PHOTOS / "chelsea.jpg", folder / name)
    shutil.copy(PHOTOS / "coffee.jpg", folder / "b.jpg")
    for kind, name in (("cats", "chelsea"), ("cups", "coffee")):
        for part in ("train", "test"):
            (folder / "data" / part / kind).mkdir(parents=True)
            shutil.copy(PHOTOS / f"{name}.jpg", folder / "data" / part / kind)
    (folder / "model").mkdir()
    Module("pnasnet_tiny").export(folder / "model" / "model.safetensors")
    with tarfile.open(folder / "checkpoint.tar.gz", "w:gz") as archive:
        archive.add(HERE / "checkpoints" / "tiny_slim", "checkpoint")
    done = run(
        "embed", folder / "a.jpg", folder / "b.jpg", "--model", "pnasnet_tiny", "-o", folder / "features.parquet"
    )
    assert done.exit_code == 0, done.output
    assert run("export", "pnasnet_tiny", folder / "features.onnx", "--preprocess").exit_code == 0
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_run(page: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, code in enumerate(blocks(page), 1):
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)


def test_no_page_is_forgotten() -> None:
    assert {"README.md", "docs/images.md", "docs/engines.md", "docs/weights.md", "docs/datasets.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }
