"""Parquet files with images and labels."""

import json
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet import images
from pnasnet.datasets import open_dataset, parquet
from pnasnet.errors import InputError

from tests.helpers.datasets_data import labels, picture, shades, struct_column, write


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: str, columns: dict[str, pa.Array], names: list[str] | None = None, **options: int) -> None:
    """Write a file; `names` are the class names of the column `label`."""
    table = pa.table(columns)
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def cells(*grey: int) -> pa.Array:
    return struct_column([(picture(shade), None) for shade in grey])


def test_classes_are_those_of_the_metadata() -> None:
    save("a.parquet", {"label": pa.array([2, 0]), "image": cells(7, 8), "other": pa.nulls(2)}, ["cat", "dog", "fish"])
    data = open_dataset("a.parquet")
    assert data.names == ["a.parquet#0", "a.parquet#1"]
    assert data.classes == ("cat", "dog", "fish")
    assert labels(data) == [2, 0]
    assert shades(data) == shades(pickle.loads(pickle.dumps(data))) == [7, 8]


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        (pa.array([3, 0], pa.uint8()), ("0", "1", "2", "3"), [3, 0]),
        (pa.array(["zebra", "ant"]), ("ant", "zebra"), [1, 0]),
        (pa.array(["zebra", "ant"], pa.large_string()), ("ant", "zebra"), [1, 0]),
        (pa.array(["zebra", "ant"]).dictionary_encode(), ("ant", "zebra"), [1, 0]),
        (pa.array([3, 0]).dictionary_encode(), ("0", "1", "2", "3"), [3, 0]),
    ],
)
@pytest.mark.parametrize("column", ["label", "labels", "fine_label"])
def test_labels_are_numbers_or_strings(
    values: pa.Array, classes: tuple[str, ...], expected: list[int], column: str
) -> None:
    save("a.parquet", {"image": cells(7, 8), column: values})
    data = open_dataset("a.parquet")
    assert data.classes == classes
    assert labels(data) == expected


def test_column_label_comes_before_fine_label() -> None:
    save("a.parquet", {"image": cells(7), "fine_label": pa.array([9]), "label": pa.array([1])})
    assert labels(open_dataset("a.parquet")) == [1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([picture(7), picture(8)]),
        pa.array([picture(7), picture(8)], pa.large_binary()),
        pa.array(["7.png", "below/8.png"]),
        struct_column([(None, "7.png"), (picture(8), "is/not/there.png")]),
        pa.array([{"path": "7.png"}, {"path": "below/8.png"}]),
        pa.array([{"bytes": picture(7)}, {"bytes": picture(8)}]),
    ],
)
@pytest.mark.parametrize("name", ["image", "img"])
def test_pictures_are_bytes_or_paths_from_the_files_folder(here: Path, column: pa.Array, name: str) -> None:
    write(here / "files/7.png", picture(7))
    write(here / "files/below/8.png", picture(8))
    save("files/a.parquet", {name: column, "label": pa.array([0, 1])})
    assert shades(open_dataset("files/a.parquet")) == [7, 8]


def test_several_files_in_many_pieces_are_read_from_several_threads() -> None:
    for file in range(3):
        numbers = range(file * 70, file * 70 + 70)
        columns = {"image": cells(*numbers), "label": pa.array([number % 5 for number in numbers])}
        save(f"all/{file}.parquet", columns, row_group_size=13)
    data = open_dataset("all")
    assert labels(data) == [number % 5 for number in range(210)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(data.read, range(210)))
    assert [int(images.decode(picture)[0, 0, 0]) for picture in read] == list(range(210))


def test_a_column_of_another_name() -> None:
    columns = {"image": pa.array([1, 2]), "photo": cells(7, 8), "label": pa.array([0, 1])}
    for folder in ("all/train", "all/val"):
        save(f"{folder}/0.parquet", columns)
    for source, split in (("all/train/0.parquet", None), ("all/val", None), ("all", "val")):
        assert shades(open_dataset(source, split=split, image_column="photo")) == [7, 8]
        with pytest.raises(InputError, match=r"column 'image' of '.*0.parquet' has type int64: images must be"):
            open_dataset(source, split=split)
        with pytest.raises(InputError, match=r"no column 'pixels': choose one of: .*photo, label"):
            open_dataset(source, split=split, image_column="pixels")


@pytest.mark.parametrize("folder", ["repo", "repo/data"])
def test_split_is_the_beginning_of_the_name(folder: str) -> None:
    for index, name in enumerate(["test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"]):
        save(f"{folder}/{name}.parquet", {"image": cells(index), "label": pa.array([0])})
    assert shades(open_dataset("repo", split="train")) == [1, 2]
    assert shades(open_dataset("repo", split="test")) == [0]
    with pytest.raises(InputError, match=r"'repo' has several splits .test, train.: choose one"):
        open_dataset("repo")
    with pytest.raises(InputError, match=r"'repo' has no split 'validation': choose one of: test, train"):
        open_dataset("repo", split="validation")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"label": pa.array([0])},
            "'a.parquet' has no column 'image' .nor img., only 'label': name one with",
        ),
        (
            {"image": cells(1), "class": pa.array([0])},
            "no column 'label' .nor labels or fine_label., only 'image', 'class'",
        ),
        (
            {"image": pa.array([1]), "label": pa.array([0])},
            "column 'image' of 'a.parquet' has type int64: images must be the bytes of image files",
        ),
        (
            {"image": pa.array([{"bytes": 1}]), "label": pa.array([0])},
            "column 'image' of .* has type struct<bytes: int64>",
        ),
        (
            {"image": pa.array([{"a": b""}]), "label": pa.array([0])},
            "column 'image' of .* has type struct<a: binary>",
        ),
        (
            {"image": cells(1), "label": pa.array([0.5])},
            "column 'label' of 'a.parquet' has type double: labels must be integers or strings",
        ),
        (
            {"image": cells(1), "label": pa.array([[0]])},
            "column 'label' of .* has type list<.*: labels must",
        ),
        ({"image": cells(1, 2), "label": pa.array([0, None])}, "'a.parquet#1' has no label: add it, or remove the row"),
        ({"image": cells(1, 2), "label": pa.array(["a", None])}, "'a.parquet#1' has no label"),
        ({"image": cells(1, 2), "label": pa.array([0, -1])}, "the label of 'a.parquet#1' is -1, not a number"),
        (
            {"image": cells(1), "label": pa.array([2**64 - 1], pa.uint64())},
            "has a label that is not a class",
        ),
        (
            {"image": struct_column([(b"", None), None]), "label": pa.array([0, 0])},
            "'a.parquet#1' has no image: add it, or remove the row",
        ),
        (
            {"image": struct_column([(b"", None), (None, None)]), "label": pa.array([0, 0])},
            "'a.parquet#1' has no image",
        ),
        ({"image": pa.array([None, b""]), "label": pa.array([0, 0])}, "'a.parquet#0' has no image"),
        ({"image": pa.array(["a", None]), "label": pa.array([0, 0])}, "'a.parquet#1' has no image"),
        ({"image": cells(), "label": pa.array([], pa.int64())}, "'a.parquet' has no rows"),
        ({"image": cells(), "label": pa.array([], pa.string())}, "'a.parquet' has no rows"),
    ],
)
def test_unusable_columns_are_errors(columns: dict[str, pa.Array], message: str) -> None:
    save("a.parquet", columns)
    with pytest.raises(InputError, match=message) as caught:
        open_dataset("a.parquet")
    assert "\n" not in str(caught.value)


def test_missing_picture_in_a_later_file_is_named() -> None:
    save("all/0.parquet", {"image": cells(1, 2), "label": pa.array([0, 0])})
    save("all/1.parquet", {"image": struct_column([(b"", ""), None]), "label": pa.array([0, 0])})
    with pytest.raises(InputError, match=r"'all/1.parquet#1' has no image"):
        open_dataset("all")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat"], "the label of 'a.parquet#0' is 1, not a number from 0 to 0"),
        (["cat", "cat"], "'a.parquet' has the class 'cat' twice: class names must be unique"),
    ],
)
def test_unusable_class_names_are_errors(names: list[str], message: str) -> None:
    save("a.parquet", {"image": cells(1), "label": pa.array([1])}, names)
    with pytest.raises(InputError, match=message):
        open_dataset("a.parquet")


def test_damaged_metadata_is_an_error() -> None:
    table = pa.table({"image": cells(1), "label": pa.array([1])})
    pq.write_table(table.replace_schema_metadata({"huggingface": "{"}), "a.parquet")
    with pytest.raises(InputError, match=r"the Hugging Face metadata in 'a.parquet' is damaged"):
        open_dataset("a.parquet")


def test_files_that_do_not_belong_together_are_an_error() -> None:
    save("all/0.parquet", {"image": cells(1), "label": pa.array([0])}, ["cat"])
    save("all/1.parquet", {"image": cells(1), "label": pa.array([0])}, ["dog"])
    with pytest.raises(InputError, match=r"'all/0.parquet' and 'all/1.parquet' have different class names"):
        open_dataset("all")
    for name, values in [("0", pa.array([0])), ("1", pa.array(["cat"]))]:
        save(f"all/{name}.parquet", {"image": cells(1), "label": values})
    with pytest.raises(InputError, match=r"'all/0.parquet' and 'all/1.parquet' have different types of labels"):
        open_dataset("all")


@pytest.mark.parametrize("keep", [0, 4, 100, -20])
def test_file_that_is_damaged_is_an_error(here: Path, keep: int) -> None:
    save("a.parquet", {"image": cells(1), "label": pa.array([0])})
    write(here / "a.parquet", (here / "a.parquet").read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a.parquet: not a Parquet file, or damaged .*: get it again") as caught:
        open_dataset("a.parquet")
    assert "\n" not in str(caught.value)


def test_damaged_page_is_an_error(here: Path) -> None:
    save("a.parquet", {"image": cells(1), "label": pa.array([0])})
    content = bytearray((here / "a.parquet").read_bytes())
    content[4:60] = b"\xff" * 56
    write(here / "a.parquet", bytes(content))
    with pytest.raises(InputError, match=r"a.parquet: not a Parquet file, or damaged"):
        open_dataset("a.parquet")


def test_row_groups_are_released_after_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = pa.array([os.urandom(1 << 20) for _ in range(40)])
    save("a.parquet", {"image": noise, "label": pa.array([0] * 40)}, write_batch_size=1)  # one page per image
    before, taken, files = pa.total_allocated_bytes(), list[int](), pq.ParquetFile

    class Noting(files):  # type: ignore[misc, valid-type]
        def iter_batches(self, *arguments: object, **options: object) -> Iterator[pa.RecordBatch]:
            for batch in super().iter_batches(*arguments, **options):
                taken.append(pa.total_allocated_bytes() - before)
                yield batch

    monkeypatch.setattr(pq, "ParquetFile", Noting)
    monkeypatch.setattr(parquet, "_BATCH", 1)
    assert len(open_dataset("a.parquet")) == len(taken) == 40
    assert max(taken) < 60 << 20


def test_images_larger_than_half_of_the_free_memory_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    save("a.parquet", {"image": pa.array([b"x" * 10_000]), "label": pa.array([0]), "other": pa.array([b"y" * 50_000])})
    monkeypatch.setattr(parquet, "free_memory", lambda: 30_000)
    assert len(open_dataset("a.parquet")) == 1
    monkeypatch.setattr(parquet, "free_memory", lambda: 20_000)
    with pytest.raises(
        InputError, match=r"more than half of the .* of free memory: open them as a Hugging Face dataset \(hf:"
    ):
        open_dataset("a.parquet")
