"""`pnasnet duplicates`: tables, pages, and that nothing is left behind."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from pnasnet.cli.duplicates import _THRESHOLD
from pnasnet.vectors import THRESHOLD

from tests.helpers.cli_runs import PHOTOS, error_of, run
from tests.helpers.corpus import parquet, tar
from tests.helpers.html_page import Page
from tests.helpers.vectors_data import clustered, write_features

NAMES = ["a.jpg", "<b>.jpg", "c\n.jpg", str(PHOTOS / "chelsea.jpg"), str(PHOTOS / "coffee.jpg")]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Write features of five images: the first three are near duplicates, and so are the last two."""
    vectors = np.eye(5, dtype=np.float32)[[0, 0, 0, 1, 1]]
    vectors[1, 4], vectors[2, 4] = 0.1, 0.2
    return write_features(tmp_path / "f.parquet", vectors, NAMES)


def test_table(features: Path) -> None:
    result = run("duplicates", features)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "group 1",
        "  keep   1.0000      640x480  a.jpg",
        "         0.9950      640x480  <b>.jpg",
        r"         0.9806      640x480  c\n.jpg",
        "group 2",
        f"  keep   1.0000      640x480  {PHOTOS}/chelsea.jpg",
        f"         1.0000      640x480  {PHOTOS}/coffee.jpg",
        "2 groups with 5 of 5 images, similarity 0.95 or more; keep: the image with the most pixels, or the first "
        "row among equals",
    ]
    assert "1 group with 2 of 5 images, similarity 1 or more" in run("duplicates", features, "--threshold", "1").stdout
    assert run("duplicates", features, "--threshold", "0.99").stdout.count("group ") == 2


def test_json(features: Path) -> None:
    first, second = map(json.loads, run("duplicates", features, "--json").stdout.splitlines())
    assert [picture["path"] for picture in first["pictures"]] == NAMES[:3]
    assert second["pictures"][1] == {
        "path": NAMES[4],
        "similarity": pytest.approx(1),
        "width": 640,
        "height": 480,
        "keep": False,
    }


def test_page(features: Path, tmp_path: Path) -> None:
    assert run("duplicates", features, "--html", tmp_path / "d.html", "--root", PHOTOS).exit_code == 0
    page = Page((tmp_path / "d.html").read_text("utf-8"))
    assert page.tags["img"] == 2
    assert page.text.count("cannot be opened") == 3
    for text in ("Group 1: 3 images", "Group 2: 2 images", "similarity 0.9950", "<b>.jpg", r"c\n.jpg"):
        assert text in page.text
    assert page.tags["b"] == 5  # of ours alone


def test_page_of_pictures_in_shards(tmp_path: Path) -> None:
    photo = (PHOTOS / "chelsea.jpg").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(tar({"a.jpg": photo, "b.jpg": photo}, "w:gz"))
    names = [f"{tmp_path}/a.tar.gz/{name}.jpg" for name in "abc"] + [
        str(parquet(tmp_path / "p.parquet", [photo])) + "#0"
    ]
    features = write_features(tmp_path / "f.parquet", np.ones((4, 5), np.float32), names)
    result = run("duplicates", features, "--html", tmp_path / "d.html", "--root", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stderr == (
        f"1 of 4 images could not be opened: 1 such as {names[2]}: no longer in its file, "
        f"which was changed or replaced\n{tmp_path}/d.html: written\n"
    )
    page = Page((tmp_path / "d.html").read_text("utf-8"))
    assert page.tags["img"] == 3
    assert page.text.count("cannot be opened") == 1


def test_no_duplicates(tmp_path: Path) -> None:
    features = write_features(tmp_path / "f.parquet", np.eye(4, dtype=np.float32))
    result = run("duplicates", features, "--html", tmp_path / "d.html")
    assert result.stdout == "0 groups with 0 of 4 images, similarity 0.95 or more\n"  # nothing to keep, no rule
    assert "No images to show." in Page((tmp_path / "d.html").read_text("utf-8")).text


def test_with_and_without_an_index(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    def stdout(result: Result) -> str:
        assert list((tmp_path / "scratch").iterdir()) == []
        return result.stdout

    plain = stdout(run("duplicates", features))
    assert not (tmp_path / "f.parquet.index").exists()
    run("similar", "--index", features)
    assert stdout(run("duplicates", features)) == plain


def test_the_threshold_of_the_help_is_the_library_s() -> None:
    assert _THRESHOLD == THRESHOLD


def test_errors_are_one_line(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pnasnet.vectors.build_index", lambda *_, **__: pytest.fail("an index was made"))
        for threshold in ("0", "1.5", "nan"):
            message = error_of(run("duplicates", features, "--threshold", threshold))
            assert "is no cosine similarity above 0 and at most 1" in message
    assert "does not exist" in error_of(run("duplicates", tmp_path / "none"))
    (tmp_path / "f.parquet.index").mkdir()
    assert "holds no finished index: finish it with --index" in error_of(run("duplicates", features))
    nothing = write_features(tmp_path / "n.parquet", clustered(2), failed=[0, 1])
    assert "holds no vectors" in error_of(run("duplicates", nothing))
