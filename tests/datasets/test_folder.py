"""Class folders."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from pnasnet.datasets import open_dataset
from pnasnet.errors import InputError

from tests.helpers.datasets_data import labels, picture, shades, write


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {"dog/b.png": 1, "dog/deep/a.PNG": 2, "cat/2.png": 3, "cat/10.png": 4, "cat/.hidden.png": 5, ".no/x.png": 6}
    files |= {"__MACOSX/cat/._2.png": 7, "cat/__MACOSX/2.png": 8, "dog/.deep/c.png": 9}
    for name, shade in files.items():
        write(tmp_path / "animals" / name, picture(shade))
    for name in ("cat/notes.txt", "notes.txt", "beside.png"):
        write(tmp_path / "animals" / name, "")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "animals"


@pytest.mark.parametrize("source", ["animals", Path("animals")])
def test_classes_are_the_sorted_folders_and_pictures_are_sorted(animals: Path, source: str | Path) -> None:
    data = open_dataset(source)
    assert data.classes == ("cat", "dog")
    assert data.names == ["animals/cat/10.png", "animals/cat/2.png", "animals/dog/b.png", "animals/dog/deep/a.PNG"]
    assert labels(data) == [0, 0, 1, 1]
    assert shades(data) == [4, 3, 1, 2]


def test_read_can_be_given_to_worker_processes(animals: Path) -> None:
    data = open_dataset(animals).take([3, 0])
    assert shades(pickle.loads(pickle.dumps(data))) == shades(data) == [2, 4]


def test_links_are_followed_but_not_to_other_classes(animals: Path) -> None:
    outside = write(animals.parent / "outside/o.png", picture(7)).parent
    (animals / "cat/round").symlink_to(animals)
    (animals / "cat/other").symlink_to(animals / "dog")
    (animals / "dog/deep/up").symlink_to(animals / "dog")
    (animals / "dog/deep/again").symlink_to(animals / "dog/deep")
    (animals / "dog/self").symlink_to("self")
    (animals / "fish").symlink_to(outside)
    data = open_dataset("animals")
    assert data.classes == ("cat", "dog", "fish")
    assert shades(data) == [4, 3, 1, 2, 7]


def test_two_classes_that_are_one_folder_are_an_error(animals: Path) -> None:
    (animals / "kitten").symlink_to(animals / "cat")
    with pytest.raises(InputError, match=r"'animals/kitten' and 'animals/cat' are the same folder: remove the link"):
        open_dataset("animals")


def test_class_that_is_the_folder_itself_is_an_error(animals: Path) -> None:
    (animals / "loop").symlink_to(animals)
    with pytest.raises(InputError, match=r"'animals/loop' and 'animals' are the same folder"):
        open_dataset("animals")


def _empty_class(animals: Path) -> None:
    write(animals / "bird/notes.txt", "")


def _no_classes(animals: Path) -> None:
    for name in ("cat", "dog"):
        (animals / name).rename(animals.parent / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_empty_class, "'animals/bird' contains no images: add some, or remove the folder$"),
        (_no_classes, "'animals' contains no class folders: put the images of each class into a folder of its own$"),
    ],
)
def test_missing_classes_and_images_are_errors(animals: Path, change: Callable[[Path], None], message: str) -> None:
    change(animals)
    with pytest.raises(InputError, match=message):
        open_dataset("animals")


@pytest.fixture
def splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for shade, name in enumerate(["train/cat/a.png", "train/dog/a.png", "val/cat/a.png", "val/dog/a.png"]):
        write(tmp_path / "data" / name, picture(shade))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.mark.parametrize(("split", "expected"), [("train", [0, 1]), ("val", [2, 3]), ("validation", [2, 3])])
def test_split_is_chosen(splits: Path, split: str, expected: list[int]) -> None:
    data = open_dataset("data", split=split)
    assert data.classes == ("cat", "dog")
    assert shades(data) == expected


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (None, "'data' has several splits .train, val.: choose one$"),
        ("test", "'data' has no split 'test': choose one of: train, val$"),
    ],
)
def test_an_ambiguous_or_missing_split_is_an_error(splits: Path, split: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_dataset("data", split=split)


def test_two_folders_for_one_split_are_told_apart_by_their_names(splits: Path) -> None:
    write(splits / "validation/cat/a.png", picture(9))
    assert shades(open_dataset("data", split="validation")) == [9]
    with pytest.raises(InputError, match="'valid' may mean val or validation in 'data': use the full name"):
        open_dataset("data", split="valid")


def test_the_only_split_needs_no_choice(splits: Path) -> None:
    (splits / "val").rename(splits.parent / "elsewhere")
    data = open_dataset("data")
    assert (data.classes, shades(data)) == (("cat", "dog"), [0, 1])


def test_other_folders_beside_two_splits_are_no_classes(splits: Path) -> None:
    write(splits / "annotations/a.xml", "")
    assert shades(open_dataset("data", split="train")) == [0, 1]


def test_a_class_may_have_the_name_of_a_split(tmp_path: Path) -> None:
    for shade, name in enumerate(["bus/a.png", "train/a.png", "train/steam/a.png"]):
        write(tmp_path / name, picture(shade))
    data = open_dataset(tmp_path)
    assert (data.classes, labels(data)) == (("bus", "train"), [0, 1, 1])
    with pytest.raises(InputError, match="has no splits: leave out the split 'train'"):
        open_dataset(tmp_path, split="train")


def test_folders_named_like_splits_that_contain_images_are_classes(tmp_path: Path) -> None:
    for shade, name in enumerate(["test/a.png", "train/a.png", "train/steam/a.png"]):
        write(tmp_path / name, picture(shade))
    assert open_dataset(tmp_path).classes == ("test", "train")
