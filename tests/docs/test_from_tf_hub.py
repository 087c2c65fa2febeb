"""The lines of docs/from-tf-hub.md that replace TF-Hub's do what the page says, and its handles resolve."""

import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

import pnasnet
from pnasnet.architecture.zoo import find_named
from pnasnet.images import preprocess

from tests.helpers.cli_runs import PHOTOS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/from-tf-hub.md").read_text("utf-8")
TINY = ROOT / "tests/checkpoints/tiny_slim"
TF_HUBS = re.findall(r"^TF-Hub[^\n]*:\n\n```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
"""What tests/tensorflow runs."""
OURS = re.findall(r"^pnasnet:\n\n```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
HANDLES = sorted(set(re.findall(r"https://(?:tfhub\.dev|www\.kaggle\.com/models)/\S+?/\d+(?=[\"`])", PAGE)))


def test_every_section_with_old_lines_has_new_ones() -> None:
    assert len(OURS) == len(TF_HUBS) == 6


def test_no_block_is_left_out() -> None:
    assert re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL) == [
        ("python", block) for both in zip(TF_HUBS, OURS, strict=True) for block in both
    ]


def test_our_lines_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the handles are not on this machine: a small checkpoint stands in for them."""
    monkeypatch.chdir(tmp_path)
    reference = pnasnet.Module(TINY)
    images = np.random.default_rng(0).random((2, *reference.image_size, 3), np.float32)
    names: dict[str, object] = {"images": images}
    found = []
    for block in OURS:
        exec(compile(re.sub(r'"https://tfhub\.dev[^"]*"', repr(str(TINY)), block), "from-tf-hub.md", "exec"), names)
        found.append(names["features"])
    for features in found[:2]:
        np.testing.assert_array_equal(features, reference(images))
    assert isinstance(names["tuned"], pnasnet.Module)
    assert names["tuned"].trainable_variables == names["variables"]
    for trained in (found[2], found[-1]):
        assert isinstance(trained, torch.Tensor)
        assert trained.requires_grad
    assert (names["height"], names["width"], names["channels"]) == (*reference.image_size, 3)
    outputs = names["outputs"]
    assert isinstance(outputs, dict)
    np.testing.assert_array_equal(outputs["default"], reference(images))
    assert torch.as_tensor(names["loss"]).detach() > 0
    np.testing.assert_array_equal(pnasnet.Module("mine.safetensors")(images), reference(images))
    for trained in (names["tuned"], names["module"]):
        assert isinstance(trained, pnasnet.Module)
        averages = {name for name in reference.variables if "/moving_" in name}
        assert {n for n in averages if np.any(trained.variables[n] != reference.variables[n])} == averages


def test_the_line_for_files_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It decodes and resizes: the photo is larger than the network's image."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHOTOS / "chelsea.jpg", "photo.jpg")
    module = pnasnet.Module(TINY)
    (line,) = re.findall(r"`(module\.embed\(.*?\))`", PAGE)
    np.testing.assert_array_equal(eval(line), module(preprocess("photo.jpg", module.image_size)[None]))


@pytest.mark.parametrize("packed", [False, True])
def test_a_downloaded_module_is_opened_by_its_path(tmp_path: Path, packed: bool) -> None:
    folder = ROOT / "tests/checkpoints/tiny_hub_tf1"
    if packed:
        with tarfile.open(tmp_path / "module.tar.gz", "w:gz") as tar:
            tar.add(folder, ".")
    module = pnasnet.Module(tmp_path / "module.tar.gz" if packed else folder)
    reference = pnasnet.Module(TINY, image_size=module.image_size)
    images = np.random.default_rng(0).random((2, *reference.image_size, 3), np.float32)
    np.testing.assert_array_equal(module(images), reference(images))


@pytest.mark.parametrize("line", [line for line in PAGE.splitlines() if line.startswith(("| `http", "| `google"))])
def test_handles_are_what_the_table_says(line: str) -> None:
    handle, output, network = re.findall(r"^\| `(.*?)` \| (\w+) of `(\w+)` \|$", line)[0]
    named = find_named(handle)
    assert named
    assert named.network.name == network
    assert named.signature == {"features": "image_feature_vector", "logits": "image_classification"}[output]


@pytest.mark.parametrize("handle", HANDLES)
def test_handles_in_the_lines_resolve(handle: str) -> None:
    assert find_named(handle)
