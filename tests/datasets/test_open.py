"""The kind of dataset that a source means, and errors for sources that mean none."""

import subprocess
import sys
from pathlib import Path

import pytest

from pnasnet.datasets import open_dataset
from pnasnet.errors import InputError, PnasnetError, UnknownNameError

from tests.helpers.datasets_data import labels, picture, shades, write, write_tar


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        members = [(f"{number}.png", picture(number)), (f"{number}.cls", f"{number % 3}\n".encode())]
        write_tar(tmp_path / f"shards/train-{number:04}.tar", members)
    write_tar(tmp_path / "shards/val-0000.tar", [("v.png", picture(99)), ("v.cls", b"0")])
    return tmp_path


@pytest.mark.parametrize(
    ("source", "split", "expected"),
    [
        ("shards/train-0003.tar", None, [3]),
        ("shards/train-{0008..0011}.tar", None, [8, 9, 10, 11]),
        ("shards/train-000{9,1,1}.tar", None, [9, 1]),
        ("shards/train-{0000..0001}{0..1}.tar", None, None),
        ("shards/{train-0002,val-0000}.tar", "val", [99]),
        ("shards/train-000[12].tar", None, [1, 2]),
        ("shards/train-*1.tar", "train", [1, 11]),
        ("sh*/**/*.tar", "validation", [99]),
        ("shards", "train", list(range(12))),
        ("shards", "val", [99]),
    ],
)
def test_patterns_and_folders_of_shards(source: str, split: str | None, expected: list[int] | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match=r"'shards/train-00000.tar' does not exist: check the path"):
            open_dataset(source, split=split)
    else:
        assert shades(open_dataset(source, split=split)) == expected


def test_split_may_be_a_folder_of_shards(here: Path) -> None:
    (here / "all/train").mkdir(parents=True)
    (here / "shards").rename(here / "all/val")
    (here / "all/val/val-0000.tar").rename(here / "all/train/0.tar")
    assert shades(open_dataset("all", split="train")) == [99]
    assert labels(open_dataset("all", split="val")) == [0, 1, 2] * 4


def test_split_may_be_within_the_name(here: Path) -> None:
    (here / "shards/val-0000.tar").rename(here / "shards/pets-val-0000.tar")
    (here / "shards/train-0003.tar").rename(here / "shards/pets.train.tar")
    assert shades(open_dataset("shards", split="val")) == [99]
    assert len(open_dataset("shards", split="train")) == 12


def test_files_in_data_are_found(here: Path) -> None:
    (here / "shards").rename(here / "data")
    assert shades(open_dataset(here, split="val")) == [99]


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        ("nowhere", None, "'nowhere' does not exist: check the path$"),
        ("null\0byte*", None, r"'null\\x00byte\*' matches no file: check the path$"),
        ("x" * 300, None, "cannot read .*File name too long"),
        ("shards/*.parquet", None, r"'shards/\*.parquet' matches no file"),
        ("shards/train-{0010..0012}.tar", None, "'shards/train-0012.tar' does not exist"),
        ("shards/train-{3..1}.tar", None, "counts from 3 to 1: count up"),
        ("shards/train-{0..99999999999}.tar", None, "count up, by at most 100,000"),
        ("shards/{0..999}{0..999}.tar", None, "expands to 1,000,000 files, more than 100,000: check the numbers"),
        ("shards", None, "'shards' has several splits .train, val.: choose one$"),
        ("shards", "test", "'shards' has no split 'test': choose one of: train, val$"),
        ("shards/train-0003.tar", "val", "has no split 'val': the only one is train"),
        ("photo.png", None, "'photo.png' is not a dataset: name a folder of class folders, Parquet files"),
        ("*", None, r"'mixed' is not a dataset|'classes' is not a dataset|'photo.png' is not a dataset"),
        ("mixed", None, r"'mixed' has files of several kinds \(parquet tar\): open one kind at a time$"),
        (
            "classes",
            None,
            r"'classes' contains both folders and files such as 'a.tar'.* with 'classes/\*.tar', or move",
        ),
        ("some", None, "'some' has files of the splits train and files without a split, such as 'some/x.tar': choose"),
        ("plain.tar", "train", "'plain.tar' has no splits: leave out the split 'train'$"),
        ("hf:", None, "'hf:' has no name: use hf:NAME"),
    ],
)
def test_unusable_sources_are_errors_of_one_line(here: Path, source: str, split: str | None, message: str) -> None:
    write(here / "photo.png", picture(1))
    for name in (
        "mixed/a.tar",
        "mixed/a.parquet",
        "classes/a.tar",
        "classes/cat/a.png",
        "some/train-0.tar",
        "some/x.tar",
    ):
        write(here / name, "")
    write(here / "plain.tar", "")
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(source, split=split)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["shards/val-0000.tar", "shards", "folder", "flat"])
def test_a_column_of_a_source_that_is_no_table_is_an_error(here: Path, source: str) -> None:
    write(here / "folder/cat/a.png", picture(1))
    write(here / "flat/ILSVRC2012_val_00000001.JPEG", picture(1))
    split = "val" if source == "shards" else None
    with pytest.raises(UnknownNameError, match=f"^'{source}' has no columns: leave out the image column 'photo'$"):
        open_dataset(source, split=split, image_column="photo")


@pytest.mark.parametrize("source", [None, 3, ["a"]])
def test_source_of_another_type_is_an_error(source: object) -> None:
    with pytest.raises(PnasnetError, match=r"^source must be a string or a path, not "):
        open_dataset(source)  # type: ignore[arg-type]


def test_torch_and_the_hugging_face_library_are_not_imported() -> None:
    code = "import sys, pnasnet.datasets; print({'torch', 'datasets'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600).stdout
        == "set()\n"
    )
