"""Modules on the Hugging Face Hub, which a server on this machine plays for the real client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants

from pnasnet import Module
from pnasnet.errors import OutputError, WeightsNotFoundError

from tests.helpers.hub_server import Hub, serve_hub

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("PNASNET_OFFLINE", "0")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield server


def test_a_trained_module_goes_to_the_hub_and_back(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module("pnasnet_tiny", trainable=True)
    with torch.no_grad():
        module.trainable_variables[0].add_(0.1)
    url = module.push_to_hub("me/tiny", private=True, commit_message="First", token="secret")
    assert url.startswith(f"{hub.address}/me/tiny/commit/")
    assert set(hub.repositories["me/tiny"]) == {"model.safetensors", "README.md"}
    assert (hub.private, hub.messages) == ({"me/tiny": True}, ["First"])
    again = Module.from_pretrained("me/tiny", trainable=True)
    np.testing.assert_array_equal(again(IMAGES), module(IMAGES))
    assert again.labels == module.labels
    with torch.no_grad():
        module.trainable_variables[0].add_(0.1)
    module.push_to_hub("me/tiny")  # a second commit is what is opened then
    np.testing.assert_array_equal(Module.from_pretrained("me/tiny", trainable=True)(IMAGES), module(IMAGES))
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    np.testing.assert_array_equal(Module.from_pretrained("me/tiny", trainable=True)(IMAGES), module(IMAGES))


def test_the_card_has_the_hubs_metadata(tmp_path: Path) -> None:
    Module("pnasnet_tiny").save_pretrained(tmp_path / "new" / "folder")
    card = ModelCard.load(tmp_path / "new" / "folder" / "README.md")
    assert card.data.library_name == "pnasnet"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license == "apache-2.0"
    assert "| Images | 32x32, preprocessing `hub` |" in card.text
    assert "| Classes | 10 |" in card.text
    np.testing.assert_array_equal(
        Module.from_pretrained(tmp_path / "new" / "folder")(IMAGES), Module("pnasnet_tiny")(IMAGES)
    )


def test_a_fine_tuned_folder_keeps_its_card(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    Module("pnasnet_tiny").save_pretrained(folder)
    (folder / "README.md").write_text("---\nlibrary_name: pnasnet\n---\nFlowers, 91 %\n")
    (folder / "metrics.json").write_text("{}")
    (folder / "splits.parquet").write_bytes(b"private")
    Module(folder).push_to_hub("me/flowers")
    files = hub.repositories["me/flowers"]
    assert set(files) == {"model.safetensors", "README.md", "metrics.json"}
    assert b"Flowers, 91 %" in files["README.md"]
    Module(folder).save_pretrained(folder)  # onto itself
    assert "Flowers, 91 %" in (folder / "README.md").read_text()
    Module(folder, trainable=True).save_pretrained(tmp_path / "trained")  # its figures may be others by now
    assert "Flowers" not in (tmp_path / "trained" / "README.md").read_text()


def test_failures_are_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"cannot download .* of me/none .*: check the name"):
        Module.from_pretrained("me/none")
    hub.token = "secret"
    with pytest.raises(OutputError, match=r"cannot upload to me/tiny .*: check the name, .* token") as caught:
        Module("pnasnet_tiny").push_to_hub("me/tiny", token="wrong")
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("PNASNET_OFFLINE", "1")
    with pytest.raises(
        WeightsNotFoundError,
        match="me/none is not in Hugging Face's cache, and downloads are disabled by PNASNET_OFFLINE",
    ):
        Module.from_pretrained("me/none")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file: File exists"):
        Module("pnasnet_tiny").save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("offline", [True, False])
def test_a_folder_that_does_not_exist_is_one_line(offline: bool) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"^models/mine/v1 is neither a folder nor a repository, OWNER/NAME"):
        Module.from_pretrained("models/mine/v1", offline=offline)
