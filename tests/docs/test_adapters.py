"""The lines of docs/integrations.md for scikit-learn, Keras, timm, torch.hub and Hugging Face."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image

from pnasnet import Module

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.hub_server import serve_hub
from tests.helpers.timm_import import import_timm

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/integrations.md"
BLOCKS = dict(
    re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
)
IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
FEATURES = Module("pnasnet_tiny")(IMAGES)
TINY = {"pnasnet_small": "pnasnet_tiny"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(title: str, names: dict[str, Any], replaced: dict[str, str]) -> dict[str, Any]:
    """Run a section's lines, with smaller models for those that would be downloaded; return all names."""
    block = BLOCKS[title]
    for old, new in replaced.items():
        assert old in block
        block = block.replace(old, new)
    exec(compile(block, str(PAGE), "exec"), names)
    return names


def as_torch(images: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return images in [0, 1] as the networks for torch accept them."""
    return torch.from_numpy(2 * images - 1).permute(0, 3, 1, 2)


def test_every_section_with_lines_is_run() -> None:
    here = {"scikit-learn", "Keras 3", "timm", "torch.hub", "Hugging Face Hub"}
    assert BLOCKS.keys() == here | {"Vector databases"}  # the last ones: test_integrations.py


def test_scikit_learn() -> None:
    paths, labels = [], []
    for photo in ("chelsea", "coffee"):
        with Image.open(PHOTOS / f"{photo}.jpg") as picture:
            for margin in range(0, 40, 10):
                paths.append(f"{photo}_{margin}.png")
                labels.append(photo)
                picture.crop((margin, margin, picture.width, picture.height)).save(paths[-1])
    shutil.copy(PHOTOS / "coffee.jpg", "photo.jpg")
    names = run("scikit-learn", {"paths": paths, "labels": labels}, TINY)
    assert names["pipeline"].predict(["photo.jpg", paths[0]]).tolist() == ["coffee", "chelsea"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_keras() -> None:
    pytest.importorskip("keras")
    Path("model").mkdir()
    Module("pnasnet_tiny").export("model/model.safetensors")
    names = run("Keras 3", {"images": 255 * IMAGES}, {'weights="imagenet"': "weights=None"})
    assert names["features"].output.shape == (None, 4320)
    np.testing.assert_allclose(names["vectors"], FEATURES, rtol=0, atol=1e-4 * float(FEATURES.max()))


def test_timm() -> None:
    import_timm()
    names = run("timm", {}, TINY)
    assert names["config"]["input_size"] == (3, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(names["model"](as_torch(IMAGES)), FEATURES, rtol=1e-4, atol=1e-4)


def test_torch_hub() -> None:
    names = run("torch.hub", {"REPOSITORY": str(ROOT)}, {'"pnasnet_large"': '"pnasnet_tiny", source="local"'})
    with torch.no_grad():
        np.testing.assert_allclose(names["model"](as_torch(IMAGES)), FEATURES, rtol=1e-4, atol=1e-4)


def test_hugging_face_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("model").mkdir()
    Module("pnasnet_tiny").export("model/model.safetensors")
    with serve_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("PNASNET_OFFLINE", "0")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hf"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        names = run("Hugging Face Hub", {}, {})
        assert server.private == {"OWNER/NAME": True}
    np.testing.assert_array_equal(names["module"](IMAGES), FEATURES)
    np.testing.assert_array_equal(Module("copy")(IMAGES), FEATURES)
