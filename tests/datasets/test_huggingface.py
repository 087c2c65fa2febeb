"""Hugging Face datasets: saved to disk, and by name with a replaced download."""

import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pytest

from pnasnet import images
from pnasnet.datasets import LabelledImages, open_dataset
from pnasnet.errors import ImageError, InputError, MissingExtraError
from pnasnet.pictures import Access

from tests.helpers.datasets_data import labels, picture, shades, write


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return tmp_path


def dataset(*grey: int, label: Any = None, split: str | None = None) -> Any:
    """Return images whose labels are their shades of grey modulo 2."""
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "image": datasets.Image(),
            "label": label or datasets.ClassLabel(names=["even", "odd"]),
        }
    )
    rows = {"id": grey, "image": [{"bytes": picture(s), "path": None} for s in grey], "label": [s % 2 for s in grey]}
    return datasets.Dataset.from_dict({key: list(values) for key, values in rows.items()}, features, split=split)


def test_saved_dataset() -> None:
    dataset(7, 8, 9).save_to_disk("saved")
    data = open_dataset("saved")
    assert data.names == ["saved#0", "saved#1", "saved#2"]
    assert data.classes == ("even", "odd")
    assert labels(data) == [1, 0, 1]
    assert shades(data) == [7, 8, 9]
    assert data.read(0) == picture(7)


def test_the_working_folder_does_not_belong_to_a_dataset(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "a.jpg", picture(7))
    cells = [{"bytes": None, "path": path} for path in ("a.jpg", f"{here}/a.jpg")]
    rows = {"id": [0, 1], "image": cells, "label": [0, 1]}
    found = datasets.Dataset.from_dict(rows, dataset(1).features)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: found)
    data = open_dataset("hf:me/pets")
    with pytest.raises(
        ImageError, match=r"^hf:me/pets#0: 'a.jpg' is a path in an unknown folder: write the images into"
    ):
        data.read(0)
    with pytest.raises(ImageError, match=r"hf:me/pets#1: .*/a.jpg' is outside "):
        data.read(1)
    data = open_dataset("hf:me/pets", access=Access((str(here),)))
    assert data.read(1) == f"{here}/a.jpg"


def test_a_column_of_another_name() -> None:
    table = dataset(7, 8, 9).rename_column("image", "photo").add_column("image", [0, 1, 2])
    table.save_to_disk("saved")
    with pytest.raises(InputError, match="column 'image' of 'saved' has type int64: images must be"):
        open_dataset("saved")
    assert shades(open_dataset("saved", image_column="photo")) == [7, 8, 9]
    with pytest.raises(InputError, match=r"'saved' has no column 'pixels': choose one of: .*photo, label"):
        open_dataset("saved", image_column="pixels")
    datasets.DatasetDict(train=table, test=table.select([2])).save_to_disk("splits")
    assert shades(open_dataset("splits", split="test", image_column="photo")) == [9]


def test_selected_rows_and_shards_keep_their_order() -> None:
    dataset(*range(20)).select([15, 2, 7]).save_to_disk("saved", num_shards=2)
    assert shades(open_dataset("saved")) == [15, 2, 7]


@pytest.mark.parametrize(("split", "expected"), [("train", [1, 2]), ("val", [3]), ("validation", [3])])
def test_saved_splits(split: str, expected: list[int]) -> None:
    datasets.DatasetDict(train=dataset(1, 2), validation=dataset(3)).save_to_disk("saved")
    data = open_dataset("saved", split=split)
    assert shades(data) == expected
    assert data.names[0] == f"saved/{'train' if split == 'train' else 'validation'}#0"


def test_an_ambiguous_or_missing_split_is_an_error() -> None:
    datasets.DatasetDict(train=dataset(1), test=dataset(2)).save_to_disk("both")
    dataset(1, split="train").save_to_disk("one")
    for source, split, message in [
        ("both", None, "'both' has several splits .test, train.: choose one"),
        ("both", "dev", "'both' has no split 'dev': choose one of: test, train"),
        ("one", "test", "'one' has no splits: leave out the split 'test'"),
    ]:
        with pytest.raises(InputError, match=message):
            open_dataset(source, split=split)
    assert shades(open_dataset("one", split="train")) == [1]


def test_pictures_may_be_paths(here: Path) -> None:
    path = str(write(here / "photo.png", picture(5)))
    table = datasets.Dataset.from_dict({"img": [path], "labels": ["cat"]}).cast_column("img", datasets.Image())
    table.save_to_disk("saved")
    data = open_dataset("saved")
    assert (data.classes, shades(data)) == (("cat",), [5])


def test_numbers_without_names() -> None:
    dataset(2, 3, label=datasets.Value("int32")).save_to_disk("saved")
    data = open_dataset("saved")
    assert (data.classes, labels(data)) == (("0", "1"), [0, 1])


def _shade(data: LabelledImages, index: int) -> int:
    return int(images.decode(data.read(index))[0, 0, 0])


def test_threads_read_and_pickled_readers_read_the_same_files() -> None:
    dataset(*range(50)).save_to_disk("saved")
    data = open_dataset("saved")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda index: _shade(data, index), list(range(50)) * 4)) == list(range(50)) * 4
    pickled = pickle.dumps(data.read)
    assert picture(9) not in pickled
    assert shades(pickle.loads(pickle.dumps(data))) == list(range(50))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.remove_columns("label"), "'saved' has no column 'label' .nor labels or fine_label."),
        (lambda table: table.remove_columns("image"), "'saved' has no column 'image' .nor img., only 'id', 'label'"),
        (lambda table: datasets.concatenate_datasets([table, _row(None, 0)]), "'saved#2' has no image"),
        (lambda table: datasets.concatenate_datasets([table, _row(b"", None)]), "'saved#2' has no label"),
        (
            lambda table: datasets.concatenate_datasets([table, _row(b"", -1)]),
            "the label of 'saved#2' is -1, not a number",
        ),
    ],
)
def test_unusable_datasets_are_errors(change: Callable[[Any], Any], message: str) -> None:
    change(dataset(1, 2)).save_to_disk("saved")
    with pytest.raises(InputError, match=f"^{message}") as caught:
        open_dataset("saved")
    assert "\n" not in str(caught.value)


def _row(content: bytes | None, label: int | None) -> Any:
    cell = None if content is None else {"bytes": content, "path": None}
    return datasets.Dataset.from_dict({"id": [0], "image": [cell], "label": [label]}, dataset(1).features)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
def test_saved_dataset_that_is_damaged_is_an_error(here: Path, name: str) -> None:
    dataset(1).save_to_disk("saved")
    write(here / "saved" / name, "{")
    with pytest.raises(InputError, match="'saved' cannot be opened as a Hugging Face dataset: ") as caught:
        open_dataset("saved")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "arguments"), [("hf:me/pets", ("me/pets", None)), ("hf:me/pets:small", ("me/pets", "small"))]
)
def test_name_and_configuration(
    monkeypatch: pytest.MonkeyPatch, source: str, arguments: tuple[str, str | None]
) -> None:
    calls = []

    def load(*given: object) -> object:
        calls.append(given)
        return datasets.DatasetDict(train=dataset(1, 2), test=dataset(3))

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = open_dataset(source, split="test")
    assert calls == [arguments]
    assert data.names == [f"{source}/test#0"]
    assert shades(data) == [3]
    with pytest.raises(InputError, match=f"'{source}' has several splits .test, train."):
        open_dataset(source)


def test_dataset_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*given: object) -> object:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist on the Hub.\nMore.")

    monkeypatch.setattr(datasets, "load_dataset", load)
    message = "^'hf:x' cannot be opened as a Hugging Face dataset: Dataset 'x' doesn't exist on the Hub.$"
    with pytest.raises(InputError, match=message):
        open_dataset("hf:x")


def test_dataset_without_rows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *given: dataset(1).select([]))
    with pytest.raises(InputError, match=r"^'hf:x' has no rows: choose a dataset with images$"):
        open_dataset("hf:x")


def test_library_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"needs datasets, .* pip install 'pnasnet\[huggingface\]'"):
        open_dataset("hf:me/pets")
