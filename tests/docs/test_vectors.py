"""The snippets of docs/vectors.md do what the page says."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.cli_runs import PHOTOS, run

PAGE = Path(__file__).parents[2] / "docs/vectors.md"
LIBRARIES = ("duckdb", "polars", "lancedb", "sklearn", "faiss", "usearch")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all Python blocks, one after the other, as the page is read; returns their names."""
    for library in LIBRARIES:
        pytest.importorskip(library, reason="the extra vectors is not installed")
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(PHOTOS, folder / "photos")
    for photo in sorted(PHOTOS.glob("*.jpg")):
        with Image.open(photo) as picture:
            for number, margin in enumerate((8, 16, 24)):
                box = (margin, margin, picture.width - margin, picture.height - margin)
                picture.crop(box).save(folder / f"photos/{photo.stem}_{number}.jpg")
    (folder / "photos/empty.jpg").touch()
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("embed", "photos", "--model", "pnasnet_tiny", "-o", "features.parquet").exit_code == 3
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_all_libraries_are_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert [library for library in LIBRARIES if not re.search(rf"^(import|from) {library}", text, re.MULTILINE)] == []


def test_all_find_the_same(done: dict[str, Any]) -> None:
    """The three crops of the cat are nearest to it, whoever searches."""
    paths, query = done["paths"], done["query"]
    crops = {f"photos/chelsea_{number}.jpg" for number in range(3)}
    assert {path for path, _ in done["nearest"]} == crops
    for places in (done["order"][1:4], done["places"][0][1:], done["found"][0][1:], done["approximate"][0][1:]):
        assert {paths[place] for place in places} == crops
    assert set(done["hits"]["path"].to_pylist()) == crops | {paths[query]}
    assert {paths[place] for place in done["matches"].keys} == crops | {paths[query]}


def test_failures_are_left_out(done: dict[str, Any]) -> None:
    assert len(done["paths"]) == len(done["vectors"]) == 16
    ((error, count),) = done["failures"]
    assert "empty.jpg" in error
    assert count == 1
    np.testing.assert_array_equal(done["matrix"], done["vectors"])
    assert done["matrix"].dtype == np.float32
    assert len(done["large"]) > 0
    assert len(set(done["groups"])) == 3
