"""Splits: by contents, by class, stored, and with at least one image to train and one to validate."""

from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnasnet.datasets import LabelledImages, open_dataset
from pnasnet.errors import InputError, OutputError
from pnasnet.finetune.features import digests
from pnasnet.finetune.splits import Split, SplitSettings, kept_split, names_within, split

from tests.helpers.finetune_data import folder_of, png


def data(*counts: int, start: int = 0) -> LabelledImages:
    """Return the given numbers of images of each class. Their bytes are the numbers of class and image."""
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"pets/{label}/{index + start}.jpg" for index, label in enumerate(labels)]
    contents = [name.encode() for name in names]
    return LabelledImages(names, labels, tuple(f"class {i}" for i in range(len(counts))), contents.__getitem__)


def parts(pictures: LabelledImages, **settings: Any) -> list[str]:
    found: list[str] = split(pictures, digests(pictures), SplitSettings(**settings)).tolist()
    return found


def kept(path: Path, pictures: LabelledImages, **settings: Any) -> Split:
    return kept_split(path, pictures, digests(pictures), SplitSettings(**settings))


@given(st.lists(st.integers(2, 40), min_size=1, max_size=4), st.floats(0.01, 0.5), st.floats(0, 0.45))
def test_each_class_trains_and_validates(counts: list[int], validation: float, test: float) -> None:
    pictures = data(*counts)
    found = np.array(parts(pictures, validation=validation, test=test))
    for label, count in enumerate(counts):
        own = found[pictures.labels == label].tolist()
        assert own.count("training") >= 1
        assert own.count("validation") == min(max(round(count * validation), 1), count - 1)
        assert abs(own.count("test") - count * test) <= 1 or own.count("training") == 1


def test_shares_are_kept() -> None:
    found = parts(data(100, 1000), validation=0.2, test=0.1)
    assert {part: found.count(part) for part in sorted(set(found))} == {"test": 110, "training": 770, "validation": 220}


def test_an_image_keeps_its_part_in_any_order_and_under_any_name() -> None:
    pictures = data(30, 30)
    order = np.random.default_rng(0).permutation(60)
    renamed = replace(pictures, names=[f"/elsewhere/{index}.png" for index in range(60)])
    assert np.array(parts(pictures))[order].tolist() == parts(pictures.take(order))
    assert parts(renamed) == parts(pictures)
    assert parts(pictures, seed=1) != parts(pictures)


def test_equal_images_are_in_one_part() -> None:
    """Counted as one, whatever the number of copies; unequal labels are reported."""
    pictures = data(20, 20)
    copied = pictures.take(np.repeat(np.arange(40), 4))
    assert parts(copied) == [part for part in parts(pictures) for _ in range(4)]
    contents = [b"same" if index in (0, 25) else pictures.names[index].encode() for index in range(40)]
    found = parts(replace(pictures, read=contents.__getitem__))
    assert found[0] == found[25]


def test_copies_and_conflicting_labels_are_reported(tmp_path: Path) -> None:
    pictures = data(10, 10)
    assert kept(tmp_path / "a.parquet", pictures).notes == ()
    (copies,) = kept(tmp_path / "b.parquet", pictures.take([*range(20), 3, 4])).notes
    assert copies == "2 images are copies of others; copies are always in the same part"
    contents = [b"same" if index in (0, 15) else pictures.names[index].encode() for index in range(20)]
    _, conflict = kept(tmp_path / "c.parquet", replace(pictures, read=contents.__getitem__)).notes
    assert conflict == (
        "1 pair of equal images, such as pets/0/0.jpg and pets/1/15.jpg, have different classes: check their labels"
    )


def test_an_unreadable_image_is_identified_by_its_relative_name() -> None:
    def read(index: int) -> bytes:
        raise OSError(5, "Input/output error")

    pictures = replace(data(20, 20), read=read)
    moved = replace(pictures, names=[f"/mnt/{name}" for name in pictures.names])
    assert parts(moved) == parts(pictures)


@pytest.mark.parametrize(
    ("names", "within"),
    [
        (["a/cat/1.jpg", "a/dog/1.jpg"], ["cat/1.jpg", "dog/1.jpg"]),
        (["/x/a/cat/1.jpg", "/x/a/car/1.jpg"], ["cat/1.jpg", "car/1.jpg"]),
        (["s.tar/a.jpg", "s.tar/b.jpg"], ["a.jpg", "b.jpg"]),
        (["d/x.parquet#1", "d/x.parquet#2"], ["x.parquet#1", "x.parquet#2"]),
        (["1.jpg"], ["1.jpg"]),
        ([], []),
    ],
)
def test_names_within_the_data(names: list[str], within: list[str]) -> None:
    pictures = LabelledImages(names, np.zeros(len(names), np.int64), ("a",), lambda index: b"")
    assert names_within(pictures) == within


@pytest.mark.parametrize(("count", "words"), [(0, "has no images,"), (1, "has 1 distinct image,")])
def test_a_class_too_small_to_split(count: int, words: str) -> None:
    with pytest.raises(InputError, match=f"class 'class 1' {words} but needs one to train and one to validate"):
        parts(data(5, count))
    with pytest.raises(InputError, match="class 'class 0' has 1 distinct image,"):
        parts(data(1, 5).take([0, 0, 0, 1, 2, 3]))


def test_a_class_of_two_images_has_no_test_image() -> None:
    assert sorted(parts(data(2))) == ["training", "validation"]


@pytest.mark.parametrize("shares", [(0, 0.1), (0.5, 0.5), (-0.1, 0.1), (0.2, -0.1), (nan, 0.1), (0.1, nan), (inf, 0)])
def test_fractions_that_leave_no_training_images(shares: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"must be (a fraction|at least 0)|leave no images for training"):
        SplitSettings(*shares)


def test_a_stored_split_is_kept_and_extended(tmp_path: Path) -> None:
    path, fewer = tmp_path / "splits.parquet", data(20, 20)
    first = kept(path, fewer)
    again = kept(path, fewer, validation=0.4, test=0.4, seed=9)
    assert again.parts.tolist() == first.parts.tolist()
    assert again.settings == SplitSettings()
    assert again.notes == (
        "splits.parquet was created with validation 0.15, test 0.15 and seed 0, and is used unchanged. "
        "Remove it to split again",
    )
    more = data(35, 35)
    new = [index for index, name in enumerate(more.names) if name not in fewer.names]
    third = kept(path, more)
    assert third.notes == (f"{len(new)} images of 70 are new and were added to splits.parquet",)
    known = dict(zip(fewer.names, first.parts, strict=True))
    assert all(known.get(name, part) == part for name, part in zip(more.names, third.parts, strict=True))
    assert third.parts[new].tolist() == np.array(parts(more))[new].tolist()  # as the others were
    assert kept(path, more).parts.tolist() == third.parts.tolist()


def test_images_that_were_removed_return_to_their_part(tmp_path: Path) -> None:
    path, pictures = tmp_path / "splits.parquet", data(20, 20)
    first = kept(path, pictures).parts
    fewer = pictures.take(np.arange(0, 40, 2))
    kept(path, LabelledImages([*fewer.names, "new"], np.append(fewer.labels, 0), fewer.classes, lambda i: (
        b"new" if i == 20 else fewer.read(i)
    )))  # fmt: skip
    np.testing.assert_array_equal(kept(path, pictures).parts, first)


def test_the_file_is_written_only_for_new_images(tmp_path: Path) -> None:
    path, pictures = tmp_path / "splits.parquet", data(10, 10)
    kept(path, pictures)
    before = path.stat()
    kept(path, pictures.take(range(19, -1, -1)), seed=3)
    kept(path, pictures.take(range(3, 17)))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    kept(path, data(11, 10))
    assert path.stat().st_ino != before.st_ino


def test_a_folder_keeps_its_split_under_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, absolute, from another directory, moved, its files renamed."""
    path = tmp_path / "splits.parquet"
    folder_of(tmp_path / "pictures", 12)
    monkeypatch.chdir(tmp_path)
    first = kept(path, open_dataset("pictures"))
    before = path.stat().st_mtime_ns
    assert kept(path, open_dataset(tmp_path / "pictures")).parts.tolist() == first.parts.tolist()
    monkeypatch.chdir(tmp_path / "pictures")
    assert kept(path, open_dataset("../pictures")).parts.tolist() == first.parts.tolist()
    (tmp_path / "pictures").rename(tmp_path / "moved")
    for file in sorted((tmp_path / "moved").glob("*/*")):
        file.rename(file.with_name(f"renamed {file.name}"))
    moved = kept(path, open_dataset(tmp_path / "moved"))
    assert moved.parts.tolist() == first.parts.tolist()
    assert moved.notes == ()
    assert path.stat().st_mtime_ns == before


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    """Although its names are the same."""
    path, pictures = tmp_path / "splits.parquet", data(20, 20)
    kept(path, pictures)
    others = replace(pictures, read=lambda index: png((index, 0, 0)) if index > 5 else pictures.read(index))
    with pytest.raises(InputError, match="the split of other images: 6 of its 40 images are in the data, and 34"):
        kept(path, others)


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "splits.parquet"
    path.write_bytes(b"no")
    with pytest.raises(InputError, match=r"splits\.parquet is damaged or not a split .*remove it"):
        kept(path, data(5, 5))


@pytest.mark.parametrize(("setting", "value"), [("seed", "inf"), ("seed", "0.5"), ("test", "nan"), ("validation", "2")])
def test_damaged_settings(tmp_path: Path, setting: str, value: str) -> None:
    path, pictures = tmp_path / "splits.parquet", data(5, 5)
    kept(path, pictures)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, f"pnasnet.{setting}".encode(): value}), path)
    with pytest.raises(InputError, match=r"splits\.parquet is damaged or not a split .*remove it"):
        kept(path, pictures)


def test_a_split_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "splits.parquet"
    made = {"pnasnet.validation": "0.15", "pnasnet.test": "0.15", "pnasnet.seed": "0"}
    table = pa.table({"name": ["a"], "class": ["b"], "part": ["test"]}).replace_schema_metadata(made)
    pq.write_table(table, path)
    with pytest.raises(InputError, match="of an earlier version, which stored the split by path: remove it"):
        kept(path, data(5, 5))
    pq.write_table(table.append_column("content", [[b"x"]]).set_column(2, "part", [["other"]]), path)
    with pytest.raises(InputError, match="parts other than training, validation, test"):
        kept(path, data(5, 5))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*splits\.parquet"):
        kept(tmp_path / "none" / "splits.parquet", data(5, 5))
