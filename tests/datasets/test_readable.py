"""Images that cannot be read are found, left out and named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pnasnet.datasets import LabelledImages
from pnasnet.datasets.readable import decode_picture, readable, without
from pnasnet.errors import ImageError, InputError

from tests.helpers.train_data import encoded


def test_readable_skips_and_names_unreadable_images() -> None:
    seen: list[int] = []
    good, skipped = readable(encoded(300, bad=(3, 200)), threads=2, advance=seen.append)
    assert len(good) == 298
    assert [name for name in good.names if name in ("3.png", "200.png")] == []
    assert good.labels.tolist() == [i % 2 for i in range(300) if i not in (3, 200)]
    assert list(skipped) == ["3.png", "200.png"]
    assert skipped["3.png"].startswith("3.png: not an image of a known format")
    assert sum(seen) == 300


def test_readable_data_is_returned_unchanged() -> None:
    data = encoded(4)
    assert readable(data) == (data, {})


def test_errors_of_reading_count_too(tmp_path: Path) -> None:
    def read(index: int) -> bytes:
        raise PermissionError(13, "Permission denied")

    data = LabelledImages(["a.png"], np.array([0]), ("a",), read)
    with pytest.raises(ImageError, match=r"a\.png: cannot be read \(Permission denied\): check the disk"):
        decode_picture(data, 0)
    missing = LabelledImages(["m"], np.array([0]), ("a",), lambda index: tmp_path / "m.png")
    with pytest.raises(ImageError, match=rf"^{tmp_path}/m\.png: no such file"):  # once, not after its name
        decode_picture(missing, 0)


def test_a_class_that_loses_all_its_images_is_an_error() -> None:
    data = replace(encoded(4, bad=(1, 3)), classes=("lying", "standing", "never there"))
    with pytest.raises(InputError) as caught:
        readable(data)
    assert str(caught.value).startswith(
        "1 of 3 classes have no readable image ('standing'): 1.png: not an image of a known format"
    )
    assert len(without(data, {1: "why"})) == 3


def test_an_error_without_a_system_message_is_quoted() -> None:
    def read(index: int) -> bytes:
        raise OSError("the archive was closed")

    with pytest.raises(ImageError, match=r"^a\.png: cannot be read \(the archive was closed\): check the disk$"):
        decode_picture(LabelledImages(["a.png"], np.array([0]), ("a",), read), 0)
