"""Features are extracted once, kept, and only for the same pictures, network and preprocessing taken again."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from finetune_data import coloured, png
from pnasnet import Module, images
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions
from pnasnet.finetune.features import Features, features_of


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny")


def extract(module: Module, data: LabelledImages, folder: Path, **options: str) -> Features:
    return features_of(module, data, folder / "f.parquet", ExtractOptions(**options))  # type: ignore[arg-type]


def test_they_are_the_networks(module: Module, tmp_path: Path) -> None:
    data = coloured(3)
    features = extract(module, data, tmp_path)
    expected = module.embed([data.read(index) for index in range(len(data))])
    np.testing.assert_allclose(features.vectors, expected, rtol=1e-4, atol=1e-5)
    assert features.readable.all()
    assert features.extracted == len(data)


def test_the_second_time_reads_the_file(module: Module, tmp_path: Path) -> None:
    data = coloured(3)
    first, second = (extract(module, data, tmp_path) for _ in range(2))
    assert (first.extracted, second.extracted) == (len(data), 0)
    np.testing.assert_array_equal(first.vectors, second.vectors)


@pytest.mark.parametrize("change", ["pictures", "preprocessing", "weights", "damage"])
def test_what_is_not_the_same_is_extracted_anew(module: Module, tmp_path: Path, change: str) -> None:
    data = coloured(3)
    extract(module, data, tmp_path)
    if change == "pictures":
        data = data.take(range(len(data) - 1))
    if change == "damage":
        (tmp_path / "f.parquet").write_bytes(b"no")
    other = module
    if change == "weights":
        weights = {**module.variables, "final_layer/FC/biases": np.ones(10, np.float32)}
        other = Module("pnasnet_tiny", weights=weights)
    options = {"preset": "slim"} if change == "preprocessing" else {}
    assert extract(other, data, tmp_path, **options).extracted == len(data)


def test_what_cannot_be_read_is_listed(module: Module, tmp_path: Path) -> None:
    data = coloured(3, broken=(1, 4))
    for _ in range(2):  # from the pictures, and from the file
        features = extract(module, data, tmp_path)
        assert np.flatnonzero(~features.readable).tolist() == [1, 4]
        assert len(features.errors) == 2
        assert data.names[1] in features.errors[0]
        good = images.preprocess(png((200, 0, 0)), module.image_size)[None]
        np.testing.assert_allclose(features.vectors[0], module(good)[0], rtol=0.5, atol=0.5)
    assert len(pq.read_table(tmp_path / "f.parquet")) == len(data)


def test_a_class_that_loses_all(module: Module, tmp_path: Path) -> None:
    data = coloured(2, broken=(0, 2, 3))
    features = extract(module, data, tmp_path)
    with pytest.raises(InputError, match=r"none of the 2 pictures of class 'green' can be read, such as green/0\.png"):
        features.check_classes(data)
    extract(module, coloured(2, broken=(2,)), tmp_path).check_classes(data)
