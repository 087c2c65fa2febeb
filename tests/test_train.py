"""The training loop: it learns, it goes on after a kill as if nothing had happened, and it says what is wrong."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pnasnet.cells import PNASNET5
from pnasnet.errors import InputError
from pnasnet.spec import NetworkSpec
from pnasnet.train.data import Dataset, augment, read_parquet
from pnasnet.train.loop import Recipe, Training, accuracy, nearest_neighbour_accuracy, predict, train

SPEC = NetworkSpec(PNASNET5, 2, 4, (16, 16), 2, stem="cifar", stem_multiplier=1.0)
RECIPE = Recipe(SPEC, ((8, 1), (16, 2)), batch_size=8, peak_learning_rate=0.05, average_decay=0.8)


def stripes(count: int = 64) -> Dataset:
    """Return pictures of horizontal (0) and vertical (1) stripes."""
    labels = torch.arange(count) % 2
    rows = (torch.arange(16) // 4 % 2 * 255).to(torch.uint8)
    pictures = torch.stack([rows[:, None].expand(16, 16), rows.expand(16, 16)])
    return Dataset(pictures[labels][..., None].expand(-1, -1, -1, 3).contiguous(), labels)


def test_it_learns(tmp_path: Path) -> None:
    data = stripes()
    network = train(replace(RECIPE, stages=((16, 8),)), data, tmp_path).averaged()
    assert accuracy(predict(network, data, "Logits"), data.labels) > 0.9


@pytest.mark.parametrize("done", [1, 2])
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path: Path, done: int) -> None:
    whole = train(RECIPE, stripes(), tmp_path / "whole")
    killed = Training(RECIPE, stripes())
    (tmp_path / "killed").mkdir()
    for _ in range(done):
        killed.run_epoch()
        killed.save(tmp_path / "killed" / "checkpoint.pt")
    killed.run_epoch()  # of which nothing was saved
    resumed = train(RECIPE, stripes(), tmp_path / "killed")
    for name, value in whole.average.items():
        torch.testing.assert_close(resumed.average[name], value)


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    train(replace(RECIPE, stages=((8, 1),)), stripes(), tmp_path)
    with pytest.raises(InputError, match="another recipe"):
        train(replace(RECIPE, batch_size=4), stripes(), tmp_path)


def test_a_loss_that_explodes_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the loss became (nan|inf).*lower peak_learning_rate"):
        train(replace(RECIPE, peak_learning_rate=1e30, clip_norm=1e30, stages=((16, 4),)), stripes(), tmp_path)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [RECIPE.learning_rate(step / 100) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[15] == pytest.approx(RECIPE.peak_learning_rate)
    assert rates[-1] == pytest.approx(0)


def test_augmented_images_are_moved_and_flipped_copies() -> None:
    image = torch.arange(16 * 16 * 3, dtype=torch.uint8).reshape(1, 16, 16, 3).expand(64, -1, -1, -1)
    moved = augment(image, 16, torch.Generator().manual_seed(0))
    assert moved.shape == (64, 16, 16, 3)
    assert len({tuple(m.flatten().tolist()) for m in moved}) > 40
    assert augment(image, 8, torch.Generator().manual_seed(0)).shape == (64, 8, 8, 3)
    inner = {tuple((m[6:10, 6:10] * 255).round().to(torch.uint8).flatten().tolist()) for m in moved}
    windows = {
        tuple(source[y : y + 4, x : x + 4].flatten().tolist())
        for source in (image[0], image[0].flip(1))
        for y in range(2, 11)
        for x in range(2, 11)
    }
    assert inner <= windows


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def png(size: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), size, np.uint8)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def test_parquet_with_image_structs_is_read(tmp_path: Path) -> None:
    data = read_parquet(parquet(tmp_path / "a.parquet", image=[png(8), png(8)], label=[1, 0]))
    assert data.images.shape == (2, 8, 8, 3)
    assert data.labels.tolist() == [1, 0]
    assert (data.images == 8).all()


@pytest.mark.parametrize(
    "columns", [{"image": [1], "label": [1]}, {"picture": [1]}, {"image": [png(8), png(9)], "label": [0, 1]}]
)
def test_other_parquet_is_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_parquet(parquet(tmp_path / "a.parquet", **columns))


def test_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_parquet(tmp_path / "a.parquet")


def test_neighbours_vote() -> None:
    train_vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]])
    labels = torch.tensor([0, 0, 1, 1])
    test_vectors = torch.tensor([[5.0, 1.0], [1.0, 5.0], [1.0, 5.0]])
    assert nearest_neighbour_accuracy(
        train_vectors, labels, test_vectors, torch.tensor([0, 1, 0]), k=2
    ) == pytest.approx(2 / 3)
