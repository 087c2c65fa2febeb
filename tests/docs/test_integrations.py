"""The snippets of docs/integrations.md for vector databases find the same photos; skipped without the library."""

import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.mongo import stand_in_for_mongodb

PAGE = Path(__file__).parents[2] / "docs/integrations.md"
SECTION = PAGE.read_text("utf-8").partition("## Vector databases")[2]
BLOCKS = dict(re.findall(r"^### ([\w-]+)\n.*?```python\n(.*?)```", SECTION, re.DOTALL | re.MULTILINE))
LIBRARIES = {
    "LanceDB": "lancedb",
    "Qdrant": "qdrant_client",
    "LangChain": "langchain_core",
    "Chroma": "chromadb",
    "sentence-transformers": "sentence_transformers",
    "FiftyOne": "fiftyone",
}


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the snippets share: as the page defines it, with photos and crops of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PHOTOS, "photos")
    for photo in sorted(PHOTOS.glob("*.jpg")):
        with Image.open(photo) as picture:
            for margin in (8, 16):
                box = (margin, margin, picture.width - margin, picture.height - margin)
                picture.crop(box).save(f"photos/{photo.stem}_{margin}.jpg")
    found: dict[str, Any] = {}
    shared = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)[0].replace("pnasnet_small", "pnasnet_tiny")
    exec(compile(shared, str(PAGE), "exec"), found)
    found["paths"] = sorted(str(path) for path in Path("photos").glob("*.jpg"))
    found["query"] = "photos/chelsea.jpg"
    return found


def test_every_snippet_has_a_test() -> None:
    assert BLOCKS.keys() == LIBRARIES.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("title", LIBRARIES)
def test_a_snippet_finds_the_crops(title: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(LIBRARIES[title]) is None:
        pytest.skip(f"{LIBRARIES[title]} is not installed: run scripts/test-integrations")
    if title == "FiftyOne":
        stand_in_for_mongodb(monkeypatch)
    exec(compile(BLOCKS[title].replace("pnasnet_small", "pnasnet_tiny"), str(PAGE), "exec"), names)
    near = [os.path.relpath(path) for path in names[f"near_{title.lower().replace('-', '_')}"]]
    assert sorted(near) == ["photos/chelsea.jpg", "photos/chelsea_16.jpg", "photos/chelsea_8.jpg"]
