"""What pages of images share: how many fit, and what is said of each."""

from pathlib import Path

import numpy as np
import pytest

from pnasnet.pictures import Access
from pnasnet.vectors import Answer, gallery, open_features, similar_page
from pnasnet.vectors.features import Entry
from pnasnet.vectors.gallery import Shown, show
from pnasnet.vectors.queries import Query

from tests.helpers.cli_runs import PHOTOS
from tests.helpers.vectors_data import clustered, write_features


@pytest.mark.parametrize(("answers", "more"), [(2, None), (3, "2 more images"), (6, "14 more images")])
def test_hidden_images_are_counted_once(
    tmp_path: Path, answers: int, more: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "MAX_PICTURES", 10)
    features = open_features(write_features(tmp_path / "f.parquet", clustered(4)))
    entries = [Entry(f"f/{row}.jpg") for row in (1, 2, 3)]
    answer = Answer(Query("f/0.jpg", np.ones(40, np.float32), 0), entries, [0.9, 0.8, 0.7], ids=[1, 2, 3])
    page = similar_page(features, [answer] * answers, Access())
    assert page.count("more image") == (more is not None)
    assert more is None or more in page


def test_equal_paths_are_opened_once_and_named_below_their_common_folder(tmp_path: Path) -> None:
    names = [f"{tmp_path}/x/a/1.jpg", f"{tmp_path}/x/2.jpg"]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes((PHOTOS / "coffee.jpg").read_bytes())
    features = open_features(write_features(tmp_path / "f.parquet", clustered(2), names))
    entries = [Entry(names[0]), Entry(names[1], 600, 400), Entry(names[0], 600, 400)]
    first, second, again = show(features, entries, Access((str(tmp_path),)))
    assert first == again
    assert (first.name, second.name) == ("a/1.jpg", "2.jpg")
    size = Path(names[1]).stat().st_size
    assert (second.size, second.file_size) == (f"600 x 400 pixels, {size / 1e3:.0f} kB", size)


@pytest.mark.parametrize("path", ["a\nb.jpg", "a\x1b[2J.jpg", "a\u202egpj.exe"])
def test_a_path_that_a_list_of_lines_would_mistake_is_not_listed(path: str) -> None:
    assert Shown(Entry(path), None, None, 0, path).listed is None
    assert Shown(Entry("a, b.jpg"), None, None, 0, "").listed == "a, b.jpg"
