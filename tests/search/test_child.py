"""Training of a child: its images, its results, and resuming after an interruption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pnasnet.architecture.cells import CellSpec
from pnasnet.datasets import LabelledImages
from pnasnet.errors import InputError
from pnasnet.search.child import ChildTrainer, describe_data, split_images
from pnasnet.search.config import ChildSettings

from tests.helpers.train_data import encoded, write

CELL = CellSpec.of([("sep3", 1, "max3", 0)])
CHILD = ChildSettings(
    num_cells=2, filters=4, image_size=16, reductions=1, stem_multiplier=1.0, epochs=2, batch_size=8,
    learning_rate=0.05, images=32, validation_images=16,
)  # fmt: skip


class EndedError(Exception):
    """Stands for the end of a process."""


def job(tmp_path: Path, **changes: object) -> ChildTrainer:
    data = write(tmp_path / "data", 64)
    return ChildTrainer(replace(CHILD, **changes), str(data), None, 2, str(tmp_path / "unfinished"), "cpu")  # type: ignore[arg-type]


def test_images_are_divided_class_by_class() -> None:
    data = encoded(64)
    training, validation = split_images(data, CHILD)
    assert training.counts().tolist() == [16, 16]
    assert validation.counts().tolist() == [8, 8]
    assert not set(training.names) & set(validation.names)
    again, _ = split_images(data, CHILD)
    other, _ = split_images(data, replace(CHILD, seed=1))
    assert again.names == training.names != other.names
    rest, validation = split_images(data, replace(CHILD, images=None))
    assert len(rest) == 64 - 16
    assert set(rest.names) | set(validation.names) == set(data.names)


def test_shares_that_do_not_divide() -> None:
    training, validation = split_images(encoded(64), replace(CHILD, images=33, validation_images=15))
    assert training.counts().tolist() == [17, 16]
    assert validation.counts().tolist() == [8, 7]


def test_images_are_identified_independently_of_their_folder() -> None:
    data = encoded(8)
    moved = replace(data, names=[f"/elsewhere/{name}" for name in data.names])
    assert describe_data(moved) == describe_data(data)
    assert describe_data(replace(data, labels=1 - data.labels)) != describe_data(data)
    assert describe_data(data)["classes"] == ["lying", "standing"]


def test_one_class_and_too_few_images() -> None:
    lonely = LabelledImages(["a"], np.zeros(1, np.int64), ("one",), lambda index: b"")
    with pytest.raises(InputError, match=r"the data has one class \('one'\)"):
        split_images(lonely, CHILD)
    with pytest.raises(InputError, match="has 8 images, too few for 8 validation images and 16 training images"):
        split_images(encoded(16), CHILD)


@pytest.mark.parametrize(("name", "least"), [("images", 8), ("validation_images", 1)])
def test_each_class_needs_an_image_of_each_kind(name: str, least: int) -> None:
    child, data = replace(CHILD, validation_images=16), encoded(64)
    classes = tuple(f"class {number}" for number in range(9 if name == "images" else 2))
    many = replace(data, classes=classes, labels=np.arange(64) % len(classes))
    with pytest.raises(InputError, match=f"^{name} is {least}, but the data has {len(classes)} classes: use one of "):
        split_images(many, replace(child, **{name: least}))  # type: ignore[arg-type]
    parts = split_images(many, replace(child, **{name: len(classes)}))  # type: ignore[arg-type]
    assert parts[name == "validation_images"].counts().tolist() == [1] * len(classes)


def test_a_class_of_which_all_images_are_for_validation() -> None:
    with pytest.raises(InputError, match="has 8 images, too few for 8 validation images and 1 training images"):
        split_images(encoded(16), replace(CHILD, images=None))


def test_a_child_and_its_curve(tmp_path: Path) -> None:
    child = job(tmp_path).prepare()(CELL, lambda: None)
    assert (child.status, child.error, child.seed) == ("ok", "", 0)
    assert len(child.curve) == 2
    assert child.accuracy == child.curve[-1] > 0.5
    assert child.seconds > 0
    assert child.machine
    again, calls = job(tmp_path).prepare()(CELL, lambda: calls.append(1)), list[int]()
    assert (again.curve, calls) == (child.curve, [])  # the results of a finished training are read from its folder
    job(tmp_path).forget(CELL)
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_a_diverged_child_keeps_its_last_accuracy(tmp_path: Path) -> None:
    child = job(tmp_path, learning_rate=1e30).prepare()(CELL, lambda: None)
    assert child.status == "diverged"
    assert child.error.startswith("the loss became ")
    assert child.accuracy == (child.curve[-1] if child.curve else 0.5)


def test_an_interrupted_child_resumes_from_its_last_epoch(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole").prepare()(CELL, lambda: None)
    calls = []

    def end() -> None:
        calls.append(1)
        if len(calls) == 8:  # of 2 epochs of 4 steps and 2 validation batches each, in the second
            raise EndedError

    ended = job(tmp_path)
    with pytest.raises(EndedError):
        ended.prepare()(CELL, end)
    assert len(list((tmp_path / "unfinished").iterdir())) == 1
    calls.clear()
    child = ended.prepare()(CELL, lambda: calls.append(1))
    assert len(calls) < 8
    assert child.curve == whole.curve


def test_seconds_include_earlier_attempts(tmp_path: Path) -> None:
    (folder,) = [job(tmp_path)._folder_of(CELL, str(tmp_path / "unfinished"))]
    folder.mkdir(parents=True)
    (folder / "seconds").write_text("1000.5")
    assert 1000.5 < job(tmp_path).prepare()(CELL, lambda: None).seconds < 1300


def test_an_unreadable_image_stops_the_search(tmp_path: Path) -> None:
    broken = job(tmp_path, images=None)
    (tmp_path / "data/lying/000.png").write_text("no")
    with pytest.raises(InputError, match=r"000\.png: .*; a search needs readable images only: remove it"):
        broken.prepare()
