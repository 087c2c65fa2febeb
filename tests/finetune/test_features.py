"""Features are extracted once, kept, and only for the same pictures, network and preprocessing taken again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pnasnet import Module, images
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError, OutputError
from pnasnet.extract import ExtractOptions
from pnasnet.finetune import features as finetune_features
from pnasnet.finetune import kept
from pnasnet.finetune.features import Features, features_of

from tests.helpers.disks import small_disk_at
from tests.helpers.finetune_data import coloured


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny")


def extract(module: Module, data: LabelledImages, folder: Path, **options: str) -> Features:
    folder.mkdir(exist_ok=True)
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


def test_only_new_pictures_are_extracted(module: Module, tmp_path: Path) -> None:
    """Whatever their places are now; the same name stands for another picture where the bytes are others."""
    data = coloured(3)
    old = data.take([8, 0, 1, 1, 2])
    extract(module, old, tmp_path)
    replaced = replace(data, read=lambda index: data.read(0 if index == 8 else index))
    features = extract(module, replaced, tmp_path)
    assert features.extracted == 5
    expected = extract(module, replaced, tmp_path / "anew")
    np.testing.assert_allclose(features.vectors, expected.vectors, rtol=1e-4, atol=1e-5)
    assert pq.read_table(tmp_path / "f.parquet")["path"].to_pylist() == list(data.names)


def test_pictures_that_were_taken_away(module: Module, tmp_path: Path) -> None:
    data = coloured(3)
    first = extract(module, data, tmp_path)
    fewer = extract(module, data.take([1, 4, 2]), tmp_path)
    assert fewer.extracted == 0
    np.testing.assert_array_equal(fewer.vectors, first.vectors[[1, 4, 2]])


def test_a_run_that_was_ended_goes_on(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_PART_SECONDS", 0.0)
    data = coloured(4)
    done: list[int] = []

    def stop(rows: int) -> None:
        done.append(rows)
        if sum(done) == 6:
            raise KeyboardInterrupt

    options = ExtractOptions(batch_size=3)
    with pytest.raises(KeyboardInterrupt):
        features_of(module, data, tmp_path / "f.parquet", options, stop)
    assert not (tmp_path / "f.parquet").exists()
    features = features_of(module, data, tmp_path / "f.parquet", options)
    assert features.extracted == 6
    assert not (tmp_path / "f.parts").exists()
    expected = extract(module, data, tmp_path / "anew")
    np.testing.assert_allclose(features.vectors, expected.vectors, rtol=1e-4, atol=1e-5)


def test_a_run_that_was_ended_before_its_last_step(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is in parts by then, in order, and there is no file yet."""
    monkeypatch.setattr(kept, "_PART_SECONDS", 0.0)
    with monkeypatch.context() as ended:
        ended.setattr(kept.KeptFeatures, "complete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract(module, coloured(3), tmp_path)
    assert extract(module, coloured(3), tmp_path).extracted == 0
    assert len(pq.read_table(tmp_path / "f.parquet")) == 9
    assert not (tmp_path / "f.parts").exists()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_full_disk(module: Module, tmp_path: Path) -> None:
    data = coloured(40)  # 460 KB, before they are compressed
    with small_disk_at(tmp_path / "small", "16k") as disk:
        with pytest.raises(OutputError, match=r"cannot write .*f\.parquet: No space left on device"):
            extract(module, data, disk)
        assert not (disk / "f.parquet").exists()


def test_too_little_memory(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_features, "free_memory", lambda: 100_000)
    message = r"the features of 9 pictures take up to 0.00014 GB of memory, 0.0001 GB are free: take fewer pictures"
    with pytest.raises(InputError, match=message):
        extract(module, coloured(3), tmp_path)


def test_what_could_not_be_decoded_is_tried_again(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = coloured(3, broken=(1,))
    assert [extract(module, data, tmp_path).extracted for _ in range(2)] == [9, 0]
    monkeypatch.setattr(finetune_features, "decode", lambda source: None)
    assert extract(module, data, tmp_path).extracted == 1


@pytest.mark.parametrize("change", ["preprocessing", "weights", "damage"])
def test_what_is_not_the_same_is_extracted_anew(module: Module, tmp_path: Path, change: str) -> None:
    data = coloured(3)
    extract(module, data, tmp_path)
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
        good = images.preprocess(data.read(0), module.image_size)[None]
        np.testing.assert_allclose(features.vectors[0], module(good)[0], rtol=1e-3, atol=1e-3)
    assert len(pq.read_table(tmp_path / "f.parquet")) == len(data)


def test_a_class_that_loses_all(module: Module, tmp_path: Path) -> None:
    data = coloured(2, broken=(0, 2, 3))
    features = extract(module, data, tmp_path)
    with pytest.raises(InputError, match=r"none of the 2 pictures of class 'green' can be read, such as green/0\.png"):
        features.check_classes(data)
    extract(module, coloured(2, broken=(2,)), tmp_path).check_classes(data)
