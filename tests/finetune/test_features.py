"""Features are computed once, stored, and reused for the same images, network and preprocessing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pnasnet import Module, images
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError, LockedError, OutOfMemoryError, OutputError
from pnasnet.extract import ExtractOptions
from pnasnet.finetune import features as finetune_features
from pnasnet.finetune.features import FeatureMatrix, digests, features_of
from pnasnet.support.locks import locked

from tests.helpers.disks import small_disk_at
from tests.helpers.finetune_data import coloured


@pytest.fixture(scope="module")
def module() -> Module:
    return Module("pnasnet_tiny")


def extract(
    module: Module, data: LabelledImages, folder: Path, *, preset: str | None = None, **options: Any
) -> FeatureMatrix:
    return features_of(module, data, digests(data), folder / "features", ExtractOptions(preset=preset), **options)


def rows(folder: Path) -> list[str]:
    """Return the paths of all rows."""
    names: list[str] = pq.read_table(sorted((folder / "features").glob("part-*.parquet")))["path"].to_pylist()
    return names


def test_features_are_those_of_the_network(module: Module, tmp_path: Path) -> None:
    data = coloured(3)
    features = extract(module, data, tmp_path)
    expected = module.embed([data.read(index) for index in range(len(data))])
    np.testing.assert_allclose(features.vectors, expected, rtol=1e-4, atol=1e-5)
    assert features.readable.all()
    assert features.computed == len(data)


def test_a_second_run_reads_the_folder(module: Module, tmp_path: Path) -> None:
    data = coloured(3)
    first, second = (extract(module, data, tmp_path) for _ in range(2))
    assert (first.computed, second.computed) == (len(data), 0)
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_only_new_images_are_extracted(module: Module, tmp_path: Path) -> None:
    """Images may move; a name with other bytes is another image."""
    data = coloured(3)
    old = data.take([8, 0, 1, 1, 2])
    extract(module, old, tmp_path)
    replaced = replace(data, read=lambda index: data.read(0 if index == 8 else index))
    features = extract(module, replaced, tmp_path)
    assert features.computed == 5
    expected = extract(module, replaced, tmp_path / "anew")
    np.testing.assert_allclose(features.vectors, expected.vectors, rtol=1e-4, atol=1e-5)


def test_removed_images(module: Module, tmp_path: Path) -> None:
    data = coloured(3)
    first = extract(module, data, tmp_path)
    fewer = extract(module, data.take([1, 4, 2]), tmp_path)
    assert fewer.computed == 0
    np.testing.assert_array_equal(fewer.vectors, first.vectors[[1, 4, 2]])


def test_a_stopped_run_is_resumed(module: Module, tmp_path: Path) -> None:
    data = coloured(4)

    def stop(stage: str, done: int, total: int | None) -> None:
        if done == 6:
            raise KeyboardInterrupt

    small = ExtractOptions(batch_size=3)
    with pytest.raises(KeyboardInterrupt):
        features_of(module, data, digests(data), tmp_path / "features", small, progress=stop)
    features = extract(module, data, tmp_path)
    assert features.computed == 6
    assert sorted(rows(tmp_path)) == sorted(data.names)
    expected = extract(module, data, tmp_path / "anew")
    np.testing.assert_allclose(features.vectors, expected.vectors, rtol=1e-4, atol=1e-5)


def test_parts_are_written_during_the_run(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a killed run loses no more than the last part."""
    monkeypatch.setattr(finetune_features, "_PART_SECONDS", 0.0)
    data, seen = coloured(4), list[int]()

    def look(stage: str, done: int, total: int | None) -> None:
        seen.append(len(list((tmp_path / "features").glob("part-*.parquet"))))

    features_of(module, data, digests(data), tmp_path / "features", ExtractOptions(batch_size=3), progress=look)
    assert seen == [0, 1, 2, 3, 4]
    assert (tmp_path / "features" / "_complete.json").exists()


def test_a_full_disk(module: Module, tmp_path: Path) -> None:
    data = coloured(40)  # 460 KB before compression
    with (
        small_disk_at(tmp_path / "small", "16k") as disk,
        pytest.raises(OutputError, match=r"cannot write .*: No space left on device"),
    ):
        extract(module, data, disk)


def test_too_little_memory(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune_features, "free_memory", lambda: 100_000)
    message = r"the features of 9 images need up to 0.00014 GB of memory, but 0.0001 GB are free: use fewer images"
    with pytest.raises(OutOfMemoryError, match=message):
        extract(module, coloured(3), tmp_path)


def test_another_run_writes_to_the_folder(module: Module, tmp_path: Path) -> None:
    """A process of another device only reads it."""
    data = coloured(2)
    extract(module, data, tmp_path)
    with locked(tmp_path / "features"):
        with pytest.raises(LockedError, match="in use by another run"):
            extract(module, data, tmp_path)
        assert extract(module, data, tmp_path, write=False).computed == 0


@pytest.mark.parametrize("change", ["preprocessing", "weights"])
def test_other_settings_are_refused_or_start_over(module: Module, tmp_path: Path, change: str) -> None:
    data = coloured(3)
    extract(module, data, tmp_path)
    other = module
    if change == "weights":
        weights = {**module.variables, "final_layer/FC/biases": np.ones(10, np.float32)}
        other = Module("pnasnet_tiny", weights=weights)
    preset = "slim" if change == "preprocessing" else None
    with pytest.raises(OutputError, match=r"features was created with other settings .*or overwrite it"):
        extract(other, data, tmp_path, preset=preset)
    assert extract(module, data, tmp_path, overwrite=True).computed == 0  # of equal settings nothing is lost
    assert extract(other, data, tmp_path, preset=preset, overwrite=True).computed == len(data)
    assert len(rows(tmp_path)) == len(data)


def test_a_damaged_part(module: Module, tmp_path: Path) -> None:
    data = coloured(2)
    extract(module, data, tmp_path)
    (part,) = (tmp_path / "features").glob("part-*.parquet")
    part.write_bytes(b"no")
    with pytest.raises(OutputError, match=r"part-.*\.parquet is damaged .*: remove it and repeat the command"):
        extract(module, data, tmp_path)
    part.unlink()
    assert extract(module, data, tmp_path).computed == len(data)


def test_unreadable_images_are_listed_and_retried(module: Module, tmp_path: Path) -> None:
    data = coloured(3, broken=(1, 4))
    for computed in (9, 2):
        features = extract(module, data, tmp_path)
        assert features.computed == computed
        assert np.flatnonzero(~features.readable).tolist() == [1, 4]
        assert len(features.errors) == 2
        assert data.names[1] in features.errors[0]
        assert not features.vectors[[1, 4]].any()
        good = images.preprocess(data.read(0), module.image_size)[None]
        np.testing.assert_allclose(features.vectors[0], module(good)[0], rtol=1e-3, atol=1e-3)
    assert len(rows(tmp_path)) == 7
    whole = extract(module, coloured(3), tmp_path)
    assert (whole.computed, whole.errors) == (2, [])


def test_a_class_without_readable_images(module: Module, tmp_path: Path) -> None:
    data = coloured(2, broken=(0, 2, 3))
    features = extract(module, data, tmp_path)
    with pytest.raises(InputError, match=r"none of the 2 images of class 'green' can be read, such as green/0\.png"):
        features.check_classes(data)
    extract(module, coloured(2, broken=(2,)), tmp_path).check_classes(data)
