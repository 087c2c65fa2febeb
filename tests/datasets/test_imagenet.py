"""ILSVRC-2012 in its usual forms."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from pnasnet.architecture.labels import wordnet_ids
from pnasnet.datasets import open_dataset
from pnasnet.datasets.imagenet import KAGGLE, SYNSETS
from pnasnet.errors import InputError

from tests.helpers.datasets_data import labels, picture, shades, tar_bytes, write, write_tar

IDS = wordnet_ids()
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
CSV = f"""ImageId,PredictionString
ILSVRC2012_val_00000003,{IDS[999]} 85 1 499 272 {IDS[999]} 1 2 3 4\x20
ILSVRC2012_val_00000001,{IDS[5]} 131 0 499 254\x20
ILSVRC2012_val_00000002,{IDS[0]} 131 0 499 254\x20
"""
LINES = f"{IDS[5]}\n{IDS[0]}\n{IDS[999]}\n"
PICTURES = [(f"ILSVRC2012_val_{number:08}.JPEG", picture(number * 10, "JPEG")) for number in (2, 1, 3)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_pictures(folder: str) -> None:
    for name, content in PICTURES:
        write(Path(folder, name), content)


@pytest.mark.parametrize("place", ["val", "."])
@pytest.mark.parametrize(("name", "content"), [(KAGGLE, CSV), (KAGGLE, CSV + "\n"), (SYNSETS, LINES)])
def test_flat_validation_folder(place: str, name: str, content: str) -> None:
    write_pictures("val")
    write(Path(place, name), content)
    data = open_dataset("val")
    assert data.names == [f"val/ILSVRC2012_val_{number:08}.JPEG" for number in (1, 2, 3)]
    assert data.classes == IDS
    assert labels(data) == [5, 0, 999]
    assert shades(pickle.loads(pickle.dumps(data))) == [10, 20, 30]


def test_folder_for_each_wordnet_id_beside_a_flat_validation_folder() -> None:
    write_pictures("imagenet/val")
    write(Path("imagenet", SYNSETS), LINES)
    for identity in IDS[3:5]:
        write(Path(f"imagenet/train/{identity}/{identity}_1.JPEG"), picture(50, "JPEG"))
    train, val = open_dataset("imagenet", split="train"), open_dataset("imagenet", split="val")
    assert (train.classes, labels(train)) == (IDS[3:5], [0, 1])
    assert (val.classes, labels(val)) == (IDS, [5, 0, 999])


@pytest.mark.parametrize("source", [".", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_kaggle(here: Path, source: str) -> None:
    top = "ILSVRC/Data/CLS-LOC"
    write_pictures(f"{top}/val")
    write_pictures(f"{top}/test")
    write(here / KAGGLE, CSV)
    write(here / f"{top}/train/{IDS[3]}/{IDS[3]}_1.JPEG", picture(50, "JPEG"))
    assert shades(open_dataset(source, split="train")) == [50]
    assert labels(open_dataset(source, split="val")) == labels(open_dataset(f"{top}/val")) == [5, 0, 999]
    with pytest.raises(InputError, match=r"has no split 'test': choose one of: train, val"):
        open_dataset(source, split="test")
    with pytest.raises(InputError, match=r"has several splits .train, val.: choose one"):
        open_dataset(source)


TRAIN = [
    ("n02000000.tar", tar_bytes([("n02000000_2.JPEG", picture(20)), ("n02000000_1.JPEG", picture(10))])),
    ("n01000000.tar", tar_bytes([("n01000000_7.JPEG", picture(70))])),
]


def test_original_tars(here: Path) -> None:
    write_tar(here / "tars/ILSVRC2012_img_train.tar", TRAIN)
    write_tar(here / "tars/ILSVRC2012_img_val.tar", PICTURES)
    write(here / "tars" / SYNSETS, LINES)
    train = open_dataset("tars/ILSVRC2012_img_train.tar")
    assert train.names[0] == "tars/ILSVRC2012_img_train.tar/n01000000.tar/n01000000_7.JPEG"
    assert (train.classes, labels(train)) == (("n01000000", "n02000000"), [0, 1, 1])
    assert shades(pickle.loads(pickle.dumps(train))) == [70, 20, 10]
    val = open_dataset("tars", split="val")
    assert (val.classes, labels(val), shades(val)) == (IDS, [5, 0, 999], [10, 20, 30])
    assert shades(open_dataset("tars", split="train")) == shades(train)


@pytest.mark.parametrize("source", ["val", "ILSVRC2012_img_val.tar"])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, f"has no labels: put {KAGGLE} .Kaggle. or {SYNSETS} .* beside it$"),
        (
            {GROUND_TRUTH: "490\n361\n171\n"},
            f"{GROUND_TRUTH}' cannot label .*, because it numbers the classes by ILSVRC id .*: put {KAGGLE}",
        ),
        ({f"ILSVRC2012_devkit_t12/data/{GROUND_TRUTH}": "490\n"}, "numbers the classes by ILSVRC id"),
        ({SYNSETS: f"{IDS[0]}\n{IDS[0]}\n"}, "_00000003.JPEG' has no label in .*: get that file again"),
        (
            {SYNSETS: LINES.replace(IDS[0], "n99999999")},
            "_00000002.JPEG' has the unknown label 'n99999999' in",
        ),
        ({SYNSETS: b"\xff"}, "is not a readable file of labels .'utf-8' codec"),
        ({KAGGLE: CSV.replace("00000003", "x")}, "is not a readable file of labels .invalid literal"),
        (
            {KAGGLE: CSV + "ILSVRC2012_val_00000004,\n"},
            "not a readable file of labels .a line is repeated, or is not",
        ),
        ({KAGGLE: CSV + CSV.splitlines()[1]}, "is not a readable file of labels .a line is repeated, or"),
        ({KAGGLE: CSV.split("\n", 1)[1]}, "_00000003.JPEG' has no label in"),
        ({KAGGLE: ""}, "is not a readable file of labels|has no label"),
    ],
)
def test_unusable_labels_are_errors(here: Path, source: str, files: dict[str, str | bytes], message: str) -> None:
    write_pictures("val")
    write_tar(here / "ILSVRC2012_img_val.tar", PICTURES)
    for name, content in files.items():
        write(here / name, content)
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["val", "shards"])
def test_a_file_of_labels_or_classes_that_cannot_be_read_is_one_line(
    here: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures("val")
    write(here / SYNSETS, LINES)
    write_tar(here / "shards" / "0.tar", [("0.jpg", picture(10, "JPEG")), ("0.cls", b"0")])
    write(here / "shards" / "classes.txt", "cat\n")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"^cannot read '[^']*\.txt': Permission denied; make it readable"):
        open_dataset(source)


def _other_member(members: list[tuple[str, bytes]]) -> None:
    members.append(("readme.txt", b""))


def _no_pictures(members: list[tuple[str, bytes]]) -> None:
    members.append(("n03000000.tar", tar_bytes([])))


def _cut(members: list[tuple[str, bytes]]) -> None:
    members.append(("n03000000.tar", members[0][1][:700]))


def _twice(members: list[tuple[str, bytes]]) -> None:
    members.append((f"./{members[0][0]}", members[0][1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_member, "contains 'readme.txt', not just one tar for each WordNet id"),
        (_no_pictures, "'n03000000.tar' in 'ILSVRC2012_img_train.tar' contains no images: get it again"),
        (_cut, "'n03000000.tar' in 'ILSVRC2012_img_train.tar' is not a tar, or damaged"),
        (_twice, "contains 'n02000000.tar', not just one tar"),
        (list.clear, "'ILSVRC2012_img_train.tar' contains no images: get it again"),
    ],
)
def test_unusable_train_tars_are_errors(
    here: Path, change: Callable[[list[tuple[str, bytes]]], None], message: str
) -> None:
    members = list(TRAIN)
    change(members)
    write_tar(here / "ILSVRC2012_img_train.tar", members)
    with pytest.raises(InputError, match=message):
        open_dataset("ILSVRC2012_img_train.tar")


def test_validation_tar_without_pictures_is_an_error(here: Path) -> None:
    write_tar(here / "ILSVRC2012_img_val.tar", [])
    write(here / SYNSETS, LINES)
    with pytest.raises(InputError, match=r"'ILSVRC2012_img_val.tar' contains no images"):
        open_dataset("ILSVRC2012_img_val.tar")
