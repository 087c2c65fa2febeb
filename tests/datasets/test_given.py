"""Images with the labels that the caller passes."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from pnasnet.datasets.given import label_images
from pnasnet.errors import InputError
from pnasnet.images import decode

from tests.helpers.finetune_data import COLOURS, png

PATHS = ["b.png", "deep/a.png", "c.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for path, colour in zip(PATHS, COLOURS.values(), strict=True):
        (tmp_path / path).write_bytes(png(colour))
    return tmp_path


def test_a_label_for_each_path_in_order(folder: Path) -> None:
    paths = [folder / path for path in PATHS]
    data = label_images(paths, ["dog", "cat", "dog"])
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.names == [str(path) for path in paths]
    assert decode(data.read(2)).shape == (40, 40, 3)
    assert pickle.loads(pickle.dumps(data)).read(1) == paths[1]


def test_a_folder_and_a_mapping_from_paths_below_it(folder: Path) -> None:
    data = label_images(str(folder), {"c.png": "x", Path("deep/a.png"): "y", "b.png": "x", "elsewhere.png": "z"})
    assert {Path(name).name: data.classes[label] for name, label in zip(data.names, data.labels, strict=True)} == {
        "b.png": "x", "a.png": "y", "c.png": "x",
    }  # fmt: skip
    assert label_images([folder / "c.png"], {str(folder / "c.png"): "x"}).classes == ("x",)


@pytest.mark.parametrize("labels", [np.array([7, 30, 7]), pd.Series([7, 30, 7]), pa.array([7, 30, 7]), (7, 30, 7)])
def test_numbers_in_arrays_and_series(labels: object) -> None:
    """Classes are sorted as numbers; numbers without images are no classes."""
    data = label_images(np.zeros((3, 4, 4, 3), np.uint8), labels)
    assert (data.classes, data.labels.tolist()) == (("7", "30"), [0, 1, 0])
    assert data.names == ["image 0", "image 1", "image 2"]
    assert decode(data.read(0)).shape == (4, 4, 3)


def test_pil_images_and_bytes() -> None:
    data = label_images([Image.new("RGB", (5, 4)), png((1, 2, 3))], ["a", "b"])
    assert [decode(data.read(index)).shape for index in (0, 1)] == [(4, 5, 3), (40, 40, 3)]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (["a", "b"], ["x"], "2 images have 1 labels: pass one for each image"),
        (["a", "b"], ["x", 1], "labels must be all names or all whole numbers"),
        (["a", "b"], [True, False], "labels must be all names or all whole numbers"),
        (["a", "b"], [0.5, 1.0], "labels must be all names or all whole numbers"),
        (["a", "b"], ["x", None], "labels must be all names or all whole numbers"),
        (["a", "b"], pd.DataFrame({"label": ["x", "y"]}), "labels are a table, DataFrame: pass the column of labels"),
        (["a", "b"], pa.table({"label": ["x", "y"]}), "labels are a table, Table: pass the column of labels alone"),
        (["a", "b"], 3, "labels must be names or whole numbers in a list, not int"),
        (["a", "a"], ["x", "y"], "'a' occurs twice among the images: remove the copies"),
        (["a", "b", "c"], {"b": "x"}, r"2 of 3 images have no label \('a', 'c'\): add labels, or remove the images"),
    ],
)
def test_labels_that_do_not_fit(images: list[str], labels: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_images(images, labels)
