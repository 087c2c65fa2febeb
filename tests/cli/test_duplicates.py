"""`pnasnet duplicates`: tables, pages, and that nothing is left behind."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image, ImageFilter

from pnasnet.cli.duplicates import _EXAMINED, _THRESHOLD
from pnasnet.vectors import THRESHOLD
from pnasnet.vectors.duplicates_page import MEASURED

from tests.helpers.chromium import browser_page
from tests.helpers.cli_runs import PHOTOS, error_of, run, usage_error_of
from tests.helpers.corpus import parquet, tar
from tests.helpers.html_page import Page
from tests.helpers.vectors_data import clustered, write_features

_FILES = ("chelsea.jpg", "coffee.jpg")
NAMES = ["a.jpg", "<b>.jpg", "c\n.jpg", str(PHOTOS / "chelsea.jpg"), str(PHOTOS / "coffee.jpg")]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Write features of five images: the first three are near duplicates, and so are the last two."""
    vectors = np.eye(5, dtype=np.float32)[[0, 0, 0, 1, 1]]
    vectors[1, 4], vectors[2, 4] = 0.1, 0.2
    return write_features(tmp_path / "f.parquet", vectors, NAMES)


def test_narrow_terminals_leave_out_the_sizes_and_say_so_once(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    result = run("duplicates", features, "-q")
    assert result.stdout.splitlines()[:3] == ["group 1", "  keep   1.0000  a.jpg", "         0.9950  <b>.jpg"]
    assert "  keep   1.0000  …/chelsea.jpg" in result.stdout.splitlines()
    assert result.stderr == "left out to fit 30 columns: size; --json shows them\n"
    assert run("duplicates", features, "-q", "--json").stderr == ""


def test_table(features: Path) -> None:
    result = run("duplicates", features)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "group 1",
        "  keep   1.0000  640x480  a.jpg",
        "         0.9950  640x480  <b>.jpg",
        r"         0.9806  640x480  c\n.jpg",
        "group 2",
        f"  keep   1.0000  640x480  {PHOTOS}/chelsea.jpg",
        f"         1.0000  640x480  {PHOTOS}/coffee.jpg",
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


@pytest.mark.parametrize("option", [("--root", str(PHOTOS)), ("--allow-url-host", "a.example"), ("--examine", "9")])
def test_options_of_the_page_need_it(features: Path, option: tuple[str, str]) -> None:
    commands = [("duplicates", features), *([("similar", NAMES[0], features)] if option[0] != "--examine" else [])]
    for command in commands:
        result = run(*command, *option)
        assert result.exit_code == 2
        assert f"{option[0]} needs --html: without a page, no image is opened\n" in result.stderr


def test_page(features: Path, tmp_path: Path) -> None:
    assert run("duplicates", features, "--html", tmp_path / "d.html", "--root", PHOTOS, "--examine", "0").exit_code == 0
    page = Page((tmp_path / "d.html").read_text("utf-8"))
    assert page.tags["img"] == 2
    assert page.text.count("cannot be opened") == 3
    for text in ("Group 1: 3 images", "Group 2: 2 images", "similarity 0.9950", "<b>.jpg", r"c\n.jpg"):
        assert text in page.text
    assert page.tags["b"] == 3  # of ours alone
    assert "Unusual images" not in page.text
    chelsea, coffee = (f"640 x 480 pixels, {(PHOTOS / name).stat().st_size / 1e3:.0f} kB" for name in _FILES)
    assert f"keep the first row of 2 images with the most pixels; but another file is larger {chelsea}" in page.text
    assert coffee in page.text


def test_what_could_go_is_listed(features: Path, tmp_path: Path) -> None:
    """All but the images to keep, as plain text; another choice changes the list."""
    run("duplicates", features, "--html", tmp_path / "d.html", "--root", PHOTOS)
    with browser_page() as page:
        page.goto((tmp_path / "d.html").as_uri())
        size = (PHOTOS / "coffee.jpg").stat().st_size
        assert page.inner_text("#going") == f"3 images could go, {size / 1e3:.0f} kB"
        with page.expect_download(timeout=30_000) as download:
            page.click("#save")
        assert download.value.suggested_filename == "could-go.txt"
        assert download.value.path().read_text("utf-8").splitlines() == ["<b>.jpg", NAMES[4]]
        assert "1 image with unprintable names left out" in page.inner_text("#told")
        page.locator(f"input[aria-label='Keep {NAMES[4]}']").check()
        assert page.inner_text("#going") == "2 images could go"
        page.locator("input[aria-label='Keep a.jpg']").focus()
        page.keyboard.press("Space")
        assert page.inner_text("#going") == "3 images could go; nothing would be kept of 1 group"


def test_unusual_images_are_shown(tmp_path: Path) -> None:
    """Each in one gallery, with its value; the limit is stated."""
    photo = Image.open(PHOTOS / "coffee.jpg").convert("RGB")
    made = {
        "plain.jpg": photo,
        "blue.jpg": Image.new("RGB", photo.size, (30, 60, 200)),
        "night.jpg": photo.point(lambda value: value // 10),
        "moved.jpg": photo.filter(ImageFilter.GaussianBlur(12)),
    }
    for name, picture in made.items():
        picture.save(tmp_path / name)
    names = [str(tmp_path / name) for name in made]
    features = write_features(tmp_path / "f.parquet", np.eye(4, dtype=np.float32) + 0.5, names)

    def page_of(examined: int) -> Page:
        path = tmp_path / "d.html"
        result = run("duplicates", features, "--html", path, "--root", tmp_path, "--examine", str(examined))
        assert result.exit_code == 0, result.output
        return Page(path.read_text("utf-8"))

    assert "Among 2 images of 4, spread evenly." in page_of(2).text
    page = page_of(4)
    for text in (
        "Among 4 images. Measured on thumbnails.",
        "Outliers: 0 images",
        "One colour: 1 image The largest standard deviation",
        "Dark: 1 image The mean luma (ITU-R BT.601), from 0 to 1; fastdup sorts by the mean, too. Listed are values "
        "below 0.15.",
        "Blurry: 1 image The variance of the Laplacian",
    ):
        assert text in page.text
    assert [Path(alt).name for alt in page.values("alt")] == ["night.jpg", "blue.jpg", "moved.jpg"]


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
    assert "There are no near duplicates" in Page((tmp_path / "d.html").read_text("utf-8")).text


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
    assert (_THRESHOLD, _EXAMINED) == (THRESHOLD, MEASURED)


def test_errors_are_one_line(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pnasnet.vectors.build_index", lambda *_, **__: pytest.fail("an index was made"))
        for threshold in ("0", "1.5"):
            message = usage_error_of(run("duplicates", features, "--threshold", threshold))
            assert message == f"--threshold must be more than 0 and at most 1, not {threshold}"
    assert "does not exist" in error_of(run("duplicates", tmp_path / "none"))
    (tmp_path / "f.parquet.index").mkdir()
    assert "holds no finished index: finish it with --index" in error_of(run("duplicates", features))
    nothing = write_features(tmp_path / "n.parquet", clustered(2), failed=[0, 1])
    assert "holds no vectors" in error_of(run("duplicates", nothing))
