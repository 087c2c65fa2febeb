"""The example photos: each has its credits, and a class that `pnasnet_small` knows or none."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from pnasnet.architecture.labels import labels

EXAMPLES = Path(__file__).parents[2] / "examples"
FREE = {"public domain", "CC0 1.0", "CC BY 2.0", "CC BY 3.0", "CC BY 4.0"}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (EXAMPLES / "CREDITS.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_photo_has_its_credits(rows: list[dict[str, str]]) -> None:
    photos = sorted(path.relative_to(EXAMPLES / "photos").as_posix() for path in EXAMPLES.glob("photos/**/*.*"))
    assert [row["photo"] for row in rows] == photos
    for row in rows:
        assert row["licence"] in FREE, row
        assert row["author"], row
        assert row["source"].startswith("https://") or "(Debian)" in row["source"] or "scikit-image" in row["source"], (
            row
        )


def test_classes_are_those_of_the_model(rows: list[dict[str, str]]) -> None:
    assert {row["class"] for row in rows} - {""} <= set(labels("tiny_imagenet"))


def test_the_page_states_how_many_there_are(rows: list[dict[str, str]]) -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    kinds = {row["photo"].partition("/")[0] for row in rows}
    assert f"has {len(rows)} photographs in {len(kinds)} folders" in page
    assert f"{sum(bool(row['class']) for row in rows)} show one of the 200 classes" in page


def test_photos_are_small(rows: list[dict[str, str]]) -> None:
    paths = [EXAMPLES / "photos" / row["photo"] for row in rows]
    assert sum(path.stat().st_size for path in paths) < 1_500_000
    for path in paths:
        with Image.open(path) as image:
            assert image.mode == "RGB", path
            assert min(image.size) <= 144, path
