"""What children see of an image: crops, flips, and whitening."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pnasnet.errors import UnknownNameError
from pnasnet.search.augment import Whitened, enlarged, whiten
from pnasnet.search.child import ChildTrainer

from tests.helpers.train_data import write
from tests.search.test_child import CELL, CHILD

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 20, 20, 3), np.uint8))
LABELS = np.arange(6)


def test_the_papers_sizes() -> None:
    assert enlarged(32) == 40


def test_whitened_images_have_mean_0_and_deviation_1() -> None:
    white = whiten(IMAGES.float() / 255)
    torch.testing.assert_close(white.mean((1, 2, 3)), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(white.std((1, 2, 3), correction=0), torch.ones(6))
    grey = torch.full((1, 4, 4, 3), 0.5)
    assert (whiten(grey) == 0).all()
    faint = grey.clone()
    faint[0, 0, 0, 0] += 0.01  # TensorFlow divides by at least 1/sqrt(48)
    assert whiten(faint).max().item() == pytest.approx(0.01 * (1 - 1 / 48) * 48**0.5, rel=1e-4)


def test_validation_images_are_whitened_whole() -> None:
    images, labels = Whitened(IMAGES, LABELS, None).batch(np.array([4, 1]), 20, (0,))
    torch.testing.assert_close(images * 2 - 1, whiten(IMAGES[[4, 1]].float() / 255))  # as the network maps its input
    assert labels.tolist() == [4, 1]


def test_crops_are_at_every_place_and_half_are_flipped() -> None:
    """Each pixel of the source encodes its position: row, column, and a constant."""
    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    source = torch.stack([rows, columns, torch.full_like(rows, 255)], -1).to(torch.uint8)[None].expand(400, -1, -1, -1)
    pictures = Whitened(source, np.zeros(400, np.int64), 16)
    indices = np.arange(400)
    images, _ = pictures.batch(indices, 16, (3, 1))
    assert images.shape == (400, 16, 16, 3)
    steps = (images[:, 0, 1, 1] - images[:, 0, 0, 1]) > 0
    assert 150 < steps.sum() < 250  # columns rise unless flipped
    white = {}
    for top in range(5):
        for left in range(5):
            crop = source[:1, top : top + 16, left : left + 16].float() / 255
            white[top, left, False], white[top, left, True] = ((whiten(each) + 1) / 2 for each in (crop, crop.flip(2)))
    known = torch.cat(list(white.values()))
    nearest = [int((known - image).abs().amax((1, 2, 3)).argmin()) for image in images]
    assert set(nearest) == set(range(50))
    torch.testing.assert_close(images, known[nearest])
    again, _ = pictures.batch(indices, 16, (3, 1), slice(1, None, 2))
    assert torch.equal(again, images[1::2])  # a device's share is that of the same draws
    assert not torch.equal(pictures.batch(indices, 16, (3, 2))[0], images)


def test_a_child_is_trained_on_enlarged_and_whitened_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def remember(*values: Any) -> Whitened:
        made.append(Whitened(*values))
        return made[-1]

    monkeypatch.setattr("pnasnet.search.augment.Whitened", remember)
    child = replace(CHILD, augmentation="crop-and-whiten", epochs=1)
    trainer = ChildTrainer(child, str(write(tmp_path / "data", 64)), None, 2, None, "cpu")
    assert trainer.prepare()(CELL, lambda: None).status == "ok"
    training, validation = made
    assert (training.images.shape[1:], training.crop) == ((20, 20, 3), 16)
    assert (validation.images.shape[1:], validation.crop) == ((16, 16, 3), None)


def test_unknown_augmentation() -> None:
    with pytest.raises(UnknownNameError, match="unknown augmentation 'shft': did you mean shift"):
        replace(CHILD, augmentation="shft")
