"""Images that cannot be read are found before the training, left out, named, and remembered."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pnasnet.errors import InputError, OutOfMemoryError
from pnasnet.training.batches import FromSource, InMemory
from pnasnet.training.folder import read_skipped, write_skipped
from pnasnet.training.pictures import decode_into_memory, prepare
from pnasnet.training.recipe import CropAndFlip

from tests.helpers.train_data import RECIPE, encoded, stripes

PHOTOS = replace(RECIPE, augmentation=CropAndFlip())


def test_memory_holds_the_images_as_they_are() -> None:
    images, good, skipped = decode_into_memory(encoded(6, bad=(2,)), (16, 16))
    expected = stripes(6)[0]
    assert images.dtype == torch.uint8
    assert torch.equal(images, expected[[0, 1, 3, 4, 5]])
    assert good.labels.tolist() == [0, 1, 1, 0, 1]
    assert list(skipped) == ["2.png"]
    assert decode_into_memory(encoded(2), (8, 8))[0].shape == (2, 8, 8, 3)


def test_images_that_do_not_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.training.pictures.available_memory", lambda device: 1000)
    with pytest.raises(OutOfMemoryError, match=r"6 images of 16x16 need .* of memory, .* are free: train on fewer"):
        decode_into_memory(encoded(6), (16, 16))


def test_each_augmentation_has_its_source() -> None:
    small = prepare(RECIPE, encoded(6, bad=(0,)), augmented=True)
    assert isinstance(small.pictures, InMemory)
    assert small.pictures.augmentation == RECIPE.augmentation
    assert (len(small.pictures.labels), small.count, list(small.skipped)) == (5, 6, ["0.png"])
    large = prepare(PHOTOS, encoded(6, bad=(0,)), augmented=False, preset="slim")
    assert isinstance(large.pictures, FromSource)
    assert (large.pictures.augmentation, large.pictures.preset) == (None, "slim")
    assert (len(large.pictures.labels), large.count, list(large.skipped)) == (5, 6, ["0.png"])


def test_images_are_checked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = encoded(6, bad=(4,))
    first = prepare(PHOTOS, data, augmented=True)
    write_skipped(tmp_path, {"training": first.to_dict()})
    known = read_skipped(tmp_path)["training"]
    other = prepare(PHOTOS, data.take([0, 1, 2, 3, 5, 4]), augmented=True, known=known)
    assert list(other.skipped) == ["4.png"]  # other names: looked at again
    monkeypatch.setattr("pnasnet.training.pictures.readable", lambda *_, **__: pytest.fail("was checked again"))
    again = prepare(PHOTOS, data, augmented=True, known=known)
    assert again.skipped == first.skipped
    assert again.pictures.labels.tolist() == first.pictures.labels.tolist()


def test_an_exception_from_progress_ends_the_work() -> None:
    def progress(stage: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    for recipe in (RECIPE, PHOTOS):
        with pytest.raises(KeyboardInterrupt):
            prepare(recipe, encoded(6), augmented=True, progress=progress)


def test_other_images_in_the_folder_are_refused(tmp_path: Path) -> None:
    write_skipped(tmp_path, {"training": prepare(RECIPE, encoded(6), augmented=True).to_dict()})
    other = prepare(RECIPE, encoded(8), augmented=True).to_dict()
    with pytest.raises(InputError, match=r"on other images \(6 then, 8 now; names or classes differ\): use the same"):
        write_skipped(tmp_path, {"training": other})
    relabelled = replace(encoded(6), labels=1 - encoded(6).labels)
    with pytest.raises(InputError, match="a training on other images"):
        write_skipped(tmp_path, {"training": prepare(RECIPE, relabelled, augmented=True).to_dict()})
    worse = prepare(RECIPE, encoded(6, bad=(2,)), augmented=True).to_dict()
    with pytest.raises(InputError, match=r"^2\.png cannot be read now, but could when the training in .* started"):
        write_skipped(tmp_path, {"training": worse})


def test_other_images_to_validate_in_the_folder_are_refused(tmp_path: Path) -> None:
    six, eight = (prepare(RECIPE, encoded(count), augmented=False).to_dict() for count in (6, 8))
    write_skipped(tmp_path, {"training": six})
    write_skipped(tmp_path, {"training": six, "validation": six})
    with pytest.raises(InputError, match="holds a training with other images to validate"):
        write_skipped(tmp_path, {"training": six, "validation": eight})
