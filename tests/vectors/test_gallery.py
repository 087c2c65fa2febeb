"""Pages of rows of images, and the count of hidden ones."""

from pathlib import Path

import pytest

from pnasnet.pictures import Access
from pnasnet.vectors import gallery, open_features
from pnasnet.vectors.features import Entry
from pnasnet.vectors.gallery import Shown, gallery_page

from tests.helpers.vectors_data import clustered, write_features


@pytest.mark.parametrize(("rows", "more"), [(2, None), (3, "2 more images"), (6, "14 more images")])
def test_hidden_images_are_counted_once(
    tmp_path: Path, rows: int, more: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MOST_PICTURES", 10)
    row = ("a row", [Shown(Entry("nowhere.jpg"), 0.9)] * 4)
    features = open_features(write_features(tmp_path / "f.parquet", clustered(4)))
    page = gallery_page("title", "about", features, [row] * rows, Access())
    assert page.count("more image") == (more is not None)
    assert more is None or more in page
