"""Batches: the same again from seed and epoch, whoever asks; every picture at most once in an epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pnasnet.errors import ImageError, InputError
from pnasnet.training.batches import FromSource, Pictures, epoch_loader, evaluation_loader, steps_per_epoch
from pnasnet.training.recipe import CropAndFlip

from tests.helpers.train_data import RECIPE, encoded, training_pictures, validation_pictures

SOURCES: list[Pictures] = [training_pictures(30), FromSource(encoded(30), CropAndFlip())]


@pytest.mark.parametrize("pictures", SOURCES, ids=["in memory", "from source"])
def test_the_same_epoch_is_the_same_again_and_others_are_not(pictures: Pictures) -> None:
    once, again = (list(epoch_loader(RECIPE, pictures, 1)) for _ in range(2))
    assert len(once) == 3
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(once, again, strict=True))
    other = list(epoch_loader(RECIPE, pictures, 2))
    seeded = list(epoch_loader(replace(RECIPE, seed=1), pictures, 1))
    assert not torch.equal(once[0][0], other[0][0])
    assert not torch.equal(once[0][0], seeded[0][0])


@pytest.mark.parametrize("pictures", SOURCES, ids=["in memory", "from source"])
@pytest.mark.parametrize(("devices", "parts"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_shares_of_devices_and_parts_make_the_batches_of_one(pictures: Pictures, devices: int, parts: int) -> None:
    whole = list(epoch_loader(RECIPE, pictures, 1))
    shares = [list(epoch_loader(RECIPE, pictures, 1, rank=r, devices=devices, parts=parts)) for r in range(devices)]
    assert all(len(share) == 3 * parts for share in shares)
    for index, (images, labels) in enumerate(whole):
        own = [share[index * parts + part] for share in shares for part in range(parts)]
        for place, (some, numbers) in enumerate(own):
            assert torch.equal(some, images[place :: devices * parts])
            assert torch.equal(numbers, labels[place :: devices * parts])


def test_an_epoch_has_each_picture_at_most_once_and_leaves_out_others_each_time() -> None:
    images = torch.arange(30, dtype=torch.uint8)[:, None, None, None].expand(-1, 16, 16, 3)
    pictures = replace(training_pictures(30), images=images)
    left_out = []
    for epoch in range(3):
        seen = torch.cat([batch for batch, _ in epoch_loader(RECIPE, pictures, epoch)])[:, 0, 0, 0]
        numbers = {round(255 * value) for value in seen.tolist()}
        assert len(numbers) == 24
        left_out.append(tuple(sorted(set(range(30)) - numbers)))
    assert len(set(left_out)) == 3


def test_sizes_labels_and_types() -> None:
    for epoch, size in enumerate((8, 16, 16)):
        images, labels = next(iter(epoch_loader(RECIPE, training_pictures(), epoch)))
        assert images.shape == (8, size, size, 3)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)


def test_labels_go_with_their_pictures() -> None:
    pictures = replace(training_pictures(), augmentation=None)
    for images, labels in epoch_loader(RECIPE, pictures, 1):
        assert torch.equal(images[:, 4, 0, 0] == images[:, 4, 4, 0], labels == 0)  # lying stripes


@pytest.mark.parametrize(("count", "devices"), [(16, 1), (17, 1), (17, 2), (9, 4), (3, 4), (16, 3)])
def test_validation_has_each_picture_once_and_equally_many_batches_for_all_devices(count: int, devices: int) -> None:
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 16, 16, 3)
    pictures = replace(validation_pictures(count), images=images)
    loaders = [list(evaluation_loader(RECIPE, pictures, rank=rank, devices=devices)) for rank in range(devices)]
    assert len({tuple(len(labels) for _, labels in batches) for batches in loaders}) == 1
    counted = [
        (round(255 * image[0, 0, 0].item()), label.item())
        for batches in loaders
        for some, labels in batches
        for image, label in zip(some, labels, strict=True)
        if label >= 0
    ]
    assert sorted(counted) == [(index, index % 2) for index in range(count)]


def test_validation_from_source_is_preprocessed_as_for_inference() -> None:
    images, labels = next(iter(evaluation_loader(RECIPE, FromSource(encoded(6), None))))
    torch.testing.assert_close(images, validation_pictures(6).images.float() / 255)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_too_few_pictures_and_uneven_shares() -> None:
    with pytest.raises(InputError, match="7 pictures do not fill a batch of 8"):
        steps_per_epoch(RECIPE, 7)
    with pytest.raises(InputError, match="a batch of 8 cannot be shared evenly by 3 devices"):
        epoch_loader(RECIPE, training_pictures(), 0, devices=3)
    with pytest.raises(InputError, match="by 2 devices x 3 parts"):
        epoch_loader(RECIPE, training_pictures(), 0, devices=2, parts=3)
    with pytest.raises(InputError, match="a batch of 8 in 8 parts has one image in each, and batch normalization"):
        epoch_loader(RECIPE, training_pictures(), 0, devices=2, parts=4)
    assert epoch_loader(replace(RECIPE, freeze_batch_norm=True), training_pictures(), 0, devices=2, parts=4)


def test_a_picture_that_has_gone_bad_is_named_once_through_a_process_too() -> None:
    pictures = FromSource(encoded(8, bad=(5,)), CropAndFlip())
    with pytest.raises(ImageError, match=r"^5\.png: not a JPEG"):
        pictures.batch(np.array([4, 5]), 8, (0,))
    (item,) = epoch_loader(RECIPE, pictures, 0)
    assert isinstance(item, ImageError)
    assert str(item).startswith("5.png: not a JPEG")
