"""The measures of unusual images, on images whose values are known."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pnasnet.vectors.measures import (
    MEASURES,
    brightness,
    luma,
    outlier_limit,
    pixels_of,
    sharpness,
    sort_into_galleries,
    spread,
)

from tests.helpers.cli_runs import PHOTOS

FILES = sorted(PHOTOS.glob("*.jpg"))


def jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95)
    return out.getvalue()


def photo(index: int = 0) -> Image.Image:
    picture = Image.open(FILES[index]).convert("RGB")
    picture.thumbnail((256, 256))
    return picture


def test_values_of_plain_patterns() -> None:
    grey = np.full((8, 8, 3), 51, np.float32)
    assert (spread(grey), sharpness(grey)) == (0, 0)
    assert brightness(grey) == pytest.approx(0.2)
    halves = np.zeros((8, 8, 3), np.float32)
    halves[:, 4:, 1] = 255
    assert spread(halves) == pytest.approx(0.5)
    assert brightness(halves) == pytest.approx(0.587 / 2)
    board = np.indices((8, 8)).sum(0)[..., None] % 2 * np.full(3, 255, np.float32)
    assert sharpness(board) == pytest.approx((4 * 255) ** 2)
    assert sharpness(board[:2]) == 0  # too low for the kernel


def test_luma_is_pillow_s() -> None:
    picture = photo()
    assert np.abs(luma(np.asarray(picture, np.float32)) - np.asarray(picture.convert("L"))).max() <= 1


@pytest.mark.parametrize("index", range(len(FILES)))
def test_photos_and_what_was_done_to_them(index: int) -> None:
    """A photo is in no gallery; one colour, darkness and blur put it into one, and only one."""
    original = photo(index)
    changed = [
        original,
        original.point(lambda value: 120 + value // 60),
        original.point(lambda value: value // 12),
        original.filter(ImageFilter.GaussianBlur(4)),
    ]
    found = sort_into_galleries([*map(jpeg, changed), None])
    assert [[place for place, _ in images] for images in found] == [[2], [1], [3]]
    for measure, images in zip(MEASURES, found, strict=True):
        assert all(value < measure.threshold for _, value in images)


def test_the_lowest_value_is_first() -> None:
    plain = [jpeg(Image.new("RGB", (64, 64), (200, 200, level))) for level in (200, 190)]
    split = Image.new("RGB", (64, 64), (200, 200, 200))
    split.paste((196, 196, 196), (0, 0, 32, 64))
    (_, found, _) = sort_into_galleries([jpeg(split), *plain])
    assert [place for place, _ in found] == [1, 2, 0]


def test_outliers_by_the_modified_z_score() -> None:
    """Of 0.70, 0.71, ... 0.80, the median is 0.75 and the MAD 0.03."""
    similarities = np.linspace(0.7, 0.8, 11, dtype=np.float32)
    assert outlier_limit(similarities) == pytest.approx(0.75 - 3.5 * 0.03 / 0.6745, abs=1e-6)
    assert outlier_limit(np.ones(5, np.float32)) == 1  # equal values: none is below


def test_thumbnails_are_read_as_rgb() -> None:
    assert pixels_of(jpeg(Image.new("L", (5, 3), 7))).shape == (3, 5, 3)
