"""Batches: the same again from seed and epoch, whoever asks; every image at most once in an epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pnasnet.datasets import LabelledImages
from pnasnet.datasets.readable import decode_picture
from pnasnet.errors import ImageError, InputError
from pnasnet.images import transform
from pnasnet.training.augment import distort_colours, random_box
from pnasnet.training.batches import Examples, FromSource, InMemory, epoch_loader, evaluation_loader, steps_per_epoch
from pnasnet.training.recipe import CropAndFlip, ShiftAndFlip

from tests.helpers.train_data import RECIPE, encoded, to_png, training_pictures, validation_pictures

SOURCES: list[Examples] = [training_pictures(30), FromSource(encoded(30), CropAndFlip())]


@pytest.mark.parametrize("pictures", SOURCES, ids=["in memory", "from source"])
def test_the_same_epoch_is_the_same_again_and_others_are_not(pictures: Examples) -> None:
    once, again = (list(epoch_loader(RECIPE, pictures, 1)) for _ in range(2))
    assert len(once) == 3
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(once, again, strict=True))
    other = list(epoch_loader(RECIPE, pictures, 2))
    seeded = list(epoch_loader(replace(RECIPE, seed=1), pictures, 1))
    assert not torch.equal(once[0][0], other[0][0])
    assert not torch.equal(once[0][0], seeded[0][0])


@pytest.mark.parametrize("pictures", SOURCES, ids=["in memory", "from source"])
@pytest.mark.parametrize(("devices", "parts"), [(2, 1), (1, 2), (2, 2), (4, 1)])
def test_shares_of_devices_and_parts_make_the_batches_of_one(pictures: Examples, devices: int, parts: int) -> None:
    whole = list(epoch_loader(RECIPE, pictures, 1))
    shares = [list(epoch_loader(RECIPE, pictures, 1, rank=r, devices=devices, parts=parts)) for r in range(devices)]
    assert all(len(share) == 3 * parts for share in shares)
    for index, (images, labels) in enumerate(whole):
        own = [share[index * parts + part] for share in shares for part in range(parts)]
        for place, (some, numbers) in enumerate(own):
            assert torch.equal(some, images[place :: devices * parts])
            assert torch.equal(numbers, labels[place :: devices * parts])


def test_an_epoch_has_each_image_at_most_once_and_leaves_out_others_each_time() -> None:
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


def test_labels_go_with_their_images() -> None:
    pictures = replace(training_pictures(), augmentation=None)
    for images, labels in epoch_loader(RECIPE, pictures, 1):
        assert torch.equal(images[:, 4, 0, 0] == images[:, 4, 4, 0], labels == 0)  # lying stripes


@pytest.mark.parametrize(("count", "devices"), [(16, 1), (17, 1), (17, 2), (9, 4), (3, 4), (16, 3)])
def test_validation_has_each_image_once_and_equally_many_batches_for_all_devices(count: int, devices: int) -> None:
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


def test_too_few_images_and_uneven_shares() -> None:
    with pytest.raises(InputError, match="7 images do not fill a batch of 8"):
        steps_per_epoch(RECIPE, 7)
    with pytest.raises(InputError, match="a batch of 8 cannot be shared evenly by 3 devices"):
        epoch_loader(RECIPE, training_pictures(), 0, devices=3)
    with pytest.raises(InputError, match="by 2 devices x 3 parts"):
        epoch_loader(RECIPE, training_pictures(), 0, devices=2, parts=3)
    with pytest.raises(InputError, match="a batch of 8 in 8 parts has one image in each, and batch normalization"):
        epoch_loader(RECIPE, training_pictures(), 0, devices=2, parts=4)
    assert epoch_loader(replace(RECIPE, freeze_batch_norm=True), training_pictures(), 0, devices=2, parts=4)


def test_an_image_that_became_unreadable_is_named_in_other_processes_too() -> None:
    pictures = FromSource(encoded(8, bad=(5,)), CropAndFlip())
    with pytest.raises(ImageError, match=r"^5\.png: not an image of a known format"):
        pictures.batch(np.array([4, 5]), 8, (0,))
    (item,) = epoch_loader(RECIPE, pictures, 0)
    assert isinstance(item, ImageError)
    assert str(item).startswith("5.png: not an image of a known format")


# Augmentation.


def one_picture(height: int, width: int) -> LabelledImages:
    """Return a data set of one image whose pixels tell their place: red the row, green the column, blue 9 times."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 4, columns * 4, np.full_like(rows, 90)], 2).astype(np.uint8)
    content = to_png(torch.from_numpy(pixels))
    return LabelledImages(["one.png"], np.array([0]), ("only",), lambda index: content)


def test_images_of_a_source_are_cropped_and_mirrored_as_the_recipe_says() -> None:
    """Each is a window of the image with the recipe's area and ratio, resized, and half of them are mirrored."""
    how = CropAndFlip(area=(0.3, 0.5), ratio=(0.8, 1.25), colours=False)
    pictures = FromSource(one_picture(60, 50), how)
    mirrored, areas = 0, []
    for step in range(200):
        images, labels = pictures.batch(np.array([0]), 20, (0, step))
        assert images.shape == (1, 20, 20, 3)
        assert labels.tolist() == [0]
        rows, columns = images[0, :, :, 0] * 255 / 4, images[0, :, :, 1] * 255 / 4
        torch.testing.assert_close(images[0, :, :, 2], torch.full((20, 20), 90 / 255), rtol=0, atol=1e-6)
        assert (rows == rows[:, :1]).all(), "a row stays a row"
        torch.testing.assert_close(columns, columns[:1].expand(20, -1))
        down, across = (rows[9, 0] - rows[4, 0]).item() / 5, (columns[0, 9] - columns[0, 4]).item() / 5
        mirrored += across < 0
        height, width = 20 * down, 20 * abs(across)
        areas.append(height * width / 3000)
        assert 0.77 < width / height < 1.3
        assert rows.min() >= 0
        assert rows.max() <= 59
    assert 0.28 < min(areas) < 0.33
    assert 0.47 < max(areas) < 0.52
    assert 70 < mirrored < 130


@pytest.mark.parametrize("augmentation", [CropAndFlip(), ShiftAndFlip()], ids=["from source", "in memory"])
def test_the_images_of_a_batch_are_changed_independently(augmentation: CropAndFlip | ShiftAndFlip) -> None:
    """Here all are copies of one."""
    data, count = one_picture(60, 50), 16
    data = replace(data, names=[f"{index}.png" for index in range(count)], labels=np.zeros(count, np.int64))
    pictures: Examples
    if isinstance(augmentation, CropAndFlip):
        pictures = FromSource(data, augmentation)
    else:
        pixels = torch.tensor(decode_picture(data, 0))
        pictures = InMemory(pixels.expand(count, -1, -1, -1), data.labels, augmentation)
    images, _ = pictures.batch(np.arange(count), 20, (0, 0))
    assert len({image.numpy().tobytes() for image in images}) > count / 2


def test_colours_of_a_source_are_distorted_only_if_the_recipe_says_so() -> None:
    data = one_picture(60, 50)
    plain, distorted = (FromSource(data, CropAndFlip(colours=each)) for each in (False, True))
    for step in range(20):
        place = (np.array([0]), 20, (0, step))
        before, after = plain.batch(*place)[0][0], distorted.batch(*place)[0][0]
        assert (before - after).abs().max() > 0.005
        expected = distort_colours(before.numpy(), rng_after_the_crop(data, place[2]))
        np.testing.assert_allclose(after, expected, atol=1e-6)


def rng_after_the_crop(data: LabelledImages, seed: tuple[int, int]) -> np.random.Generator:
    """Return the generator of the first image as it is when its colours are distorted."""
    rng = np.random.default_rng([*seed, 0])
    random_box(60, 50, CropAndFlip(), rng)
    rng.random()
    return rng


def test_validation_images_of_a_source_are_not_augmented() -> None:
    data = one_picture(60, 60)
    for step in range(3):
        images, _ = FromSource(data, None).batch(np.array([0]), 32, (0, step))
        expected = transform(decode_picture(data, 0), (32, 32), "hub")
        np.testing.assert_array_equal(images[0], expected)


@pytest.mark.parametrize("augmentation", [None, ShiftAndFlip(shift=0)])
def test_images_in_memory_are_scaled_to_one(augmentation: ShiftAndFlip | None) -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1).expand(-1, 16, 16, 3)
    pictures = InMemory(levels, np.zeros(256, np.int64), augmentation)
    images, _ = pictures.batch(np.arange(256), 16, (0, 0))
    expected = torch.arange(256).reshape(256, 1, 1, 1).expand(-1, 16, 16, 3) / 255
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-7)
    assert (images.min().item(), images.max().item()) == (0, 1)
