"""`pnasnet explore`: the page and embedding-atlas in a real browser."""

import importlib.util
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pnasnet.reports.pages import small_jpeg
from pnasnet.vectors import explore

from tests.helpers.chromium import browser_page, wait_until
from tests.helpers.cli_runs import PHOTOS, error_of, features, run, usage_error_of
from tests.helpers.corpus import parquet, tar, zipped
from tests.helpers.vectors_data import clustered, write_features
from tests.helpers.waiting import limited

__all__ = ["features"]

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_page_in_a_browser(features: Path, tmp_path: Path) -> None:
    """It draws the pictures; the wheel zooms to where they lie apart; the pointer names them; a search dims others."""
    (tmp_path / "photos/rocket.jpg").unlink()
    path = tmp_path / "map.html"
    result = run("explore", features, "--html", path, "--projection", "pca", "--root", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}: 12 images\n"
    assert result.stderr.splitlines() == [
        "projection pca",
        f"3 of 12 images could not be opened: 3 such as {tmp_path}/photos/rocket.jpg: no such file: check the path",
    ]
    with browser_page() as page:
        page.goto(path.as_uri())
        wait_until(page, "document.body.dataset.drawn >= 3")
        first = drawn(page)
        assert first <= 9
        assert "3 images could not be opened." in page.inner_text("#about")
        assert colours(page.locator("#map").screenshot()) > 40  # of photos; dots alone have few
        x, y = page.evaluate("[drawn[0][1], drawn[0][2]]")
        page.hover("#map", position={"x": x, "y": y})
        assert page.inner_text("#shown figcaption").endswith(".jpg")
        assert page.locator("#shown img").is_visible()
        page.mouse.wheel(0, -1500)
        wait_until(page, f"document.body.dataset.drawn != {first}")
        page.keyboard.press("Tab")
        page.focus("#map")
        page.keyboard.press("0")
        wait_until(page, f"document.body.dataset.drawn == {first}")
        page.fill("#find", "CHELSEA")
        wait_until(page, "document.body.dataset.drawn <= 3")
        assert page.evaluate("drawn.every(([i]) => data.names[i].includes('chelsea'))")


def test_colours_search_and_selection_in_a_browser(tmp_path: Path) -> None:
    """Groups colour the dots and can be hidden; the search counts and jumps; a lasso selects what the list holds."""
    names = [f"{'cats' if i % 2 else 'dogs'}/image{i:02}.jpg" for i in range(60)]
    features = write_features(tmp_path / "features.parquet", clustered(60, 20), names)
    path = tmp_path / "map.html"
    assert run("explore", features, "--html", path, "--projection", "pca", "-q").exit_code == 0
    with browser_page() as page:
        page.goto(path.as_uri())
        page.select_option("#colour", label="folder")
        assert page.locator("#legend button").all_inner_texts() == ["dogs (30)", "cats (30)"]
        page.locator("#legend button").first.click()
        assert page.evaluate("[...looks.faint].filter(Boolean).length") == 30
        page.locator("#legend button").first.click()
        page.fill("#find", "image0")
        assert page.inner_text("#hits") == "10 found"
        page.press("#find", "Enter")
        assert page.inner_text("#hits") == "1 of 10"
        assert page.inner_text("#shown figcaption") == "dogs/image00.jpg"
        page.click("#take")
        assert page.inner_text("#selected") == "10 selected"
        page.click("#clear")
        page.fill("#find", "")
        page.focus("#map")
        page.keyboard.press("0")
        page.keyboard.press("l")
        box = page.locator("#map").bounding_box()
        assert box
        corners = [(2, 2), (box["width"] - 2, 2), (box["width"] - 2, box["height"] - 2), (2, box["height"] - 2)]
        page.mouse.move(box["x"] + 2, box["y"] + 2)
        page.mouse.down()
        for x, y in corners:
            page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        page.mouse.up()
        assert page.inner_text("#selected") == "60 selected"
        with page.expect_download() as download:
            page.click("#save")
        assert Path(download.value.path()).read_text("utf-8").splitlines() == names
        page.keyboard.press("Escape")


def test_the_map_fits_a_phone(features: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    assert run("explore", features, "--html", path, "--projection", "pca", "-q", "--root", tmp_path).exit_code == 0
    with browser_page() as page:
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.getElementById('map').clientHeight") > 300


def test_pictures_in_shards(tmp_path: Path) -> None:
    """The page and the table show them; missing images do not stop the command."""
    photos = {path.name: path.read_bytes() for path in PHOTOS.glob("*.jpg")}
    (tmp_path / "a.tar").write_bytes(tar(photos))
    (tmp_path / "a.zip").write_bytes(zipped(photos))
    rows = parquet(tmp_path / "rows.parquet", list(photos.values()))
    names = [f"{tmp_path}/{shard}/{name}" for shard in ("a.tar", "gone.tar", "a.zip") for name in photos]
    names += [f"{rows}#{number}" for number in range(4)]
    features = write_features(tmp_path / "features.parquet", clustered(16, 100), names)
    page, table = tmp_path / "map.html", tmp_path / "t.parquet"
    result = run("explore", features, "--html", page, "--table", table, "--projection", "pca", "-q", "--root", tmp_path)
    assert result.exit_code == 0, result.output
    (line,) = set(result.stderr.splitlines())
    assert line.startswith(f"4 of 16 images could not be opened: 4 such as {tmp_path}/gone.tar/")
    written = pq.read_table(table)
    assert written["path"].to_pylist() == names
    images = [image["bytes"] for image in written["image"].to_pylist()]
    assert [image is None for image in images] == ["gone.tar" in name for name in names]
    assert images[:4] == images[8:12] == images[12:]
    assert images[:4] == [small_jpeg(content, 96) for content in photos.values()]
    assert "4 images could not be opened." in page.read_text("utf-8")


def drawn(page: "Page") -> int:
    """Return how many thumbnails are on the map."""
    return int(page.evaluate("document.body.dataset.drawn"))


def colours(png: bytes) -> int:
    """Return how many colours of 64 a picture needs."""
    with Image.open(io.BytesIO(png)) as shot:
        return len(shot.convert("RGB").quantize(64).getcolors() or ())


def test_a_sample_is_reported(features: Path, tmp_path: Path) -> None:
    result = run("explore", features, "--html", tmp_path / "m.html", "--points", "5", "--projection", "pca")
    assert result.stderr.splitlines()[0] == "5 of 12 images are shown, spread evenly"
    assert result.stdout.endswith("m.html: 5 images\n")


def test_table_for_another_place(features: Path, tmp_path: Path) -> None:
    result = run(
        "explore",
        features,
        "--table",
        tmp_path / "t.parquet",
        "--projection",
        "pca",
        "-q",
        "--thumbnail",
        "32",
        "--root",
        tmp_path,
    )
    assert (result.exit_code, result.stderr) == (0, "")
    table = pq.read_table(tmp_path / "t.parquet")
    assert len(table) == 12
    assert table["image"].null_count == 0


_BUILD = """
import sys, time
from pnasnet import vectors

def build(features, folder, *, progress):
    (folder / "half").write_bytes(b"x")
    print("building", flush=True)
    time.sleep(60)

vectors.build_index = build
from pnasnet.cli.app import main

main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["explore", "duplicates"])
def test_ended_while_an_index_is_made_it_leaves_no_files(features: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    arguments = [sys.executable, "-c", _BUILD, command, str(features), "--html", str(tmp_path / "m.html")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, stdout=pipe, stderr=pipe, env=environment, text=True, start_new_session=True)
    with limited(process):
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert told.splitlines()[-1] == "error: interrupted"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_without_the_explorer(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = "the explorer (without --html or --table) needs embedding-atlas, which is not installed: pip install"
    assert error_of(run("explore", features)).startswith(message)


def test_errors_are_one_line(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "m.html"
    assert "does not exist" in error_of(run("explore", tmp_path / "none", "--html", page))
    with monkeypatch.context() as patched:
        patched.setattr("pnasnet.vectors.build_index", lambda *_, **__: pytest.fail("an index was made"))
        result = run("explore", features, "--html", page, "--projection", "tsne")
        assert "unknown projection 'tsne'" in usage_error_of(result)
    for option, value, limits in (
        ("--thumbnail", "3", "from 8 to 512"),
        ("--thumbnail", "513", "from 8 to 512"),
    ):
        message = usage_error_of(run("explore", features, "--html", page, option, value))
        assert message == f"{option} must be {limits}, not {value}"
    monkeypatch.setattr("pnasnet.vectors.make_map", lambda *_: pytest.fail("was computed"))
    assert "there is no folder" in error_of(run("explore", features, "--html", tmp_path / "no/m.html"))
    assert not page.exists()


def test_a_page_has_a_limit_of_images(features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pnasnet.vectors.PAGE_POINTS", 6)
    for asked in ([], ["--points", "9"]):
        result = run("explore", features, "--html", tmp_path / "m.html", "--projection", "pca", *asked)
        assert result.stderr.splitlines()[0] == "6 of 12 images are shown, spread evenly"
    assert explore.PAGE_POINTS == 50_000


def test_the_title_of_the_folder_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vectors").mkdir()
    write_features(tmp_path / "vectors/part-0.parquet", clustered(4), list("abcd"))
    monkeypatch.chdir(tmp_path / "vectors")
    assert run("explore", ".", "--html", tmp_path / "map.html", "--projection", "pca", "-q").exit_code == 0
    assert "Map of vectors" in (tmp_path / "map.html").read_text("utf-8")


@pytest.mark.parametrize("option", ["--html", "--table"])
def test_a_port_without_the_explorer_is_refused(tmp_path: Path, option: str) -> None:
    features, suffix = write_features(tmp_path / "f.parquet", clustered(9)), {"--html": "html"}.get(option, "parquet")
    result = run("explore", features, option, tmp_path / f"map.{suffix}", "--port", "5055")
    assert result.exit_code == 2
    assert "--port is for the explorer: leave it out, or leave out --html and --table" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["f.parquet"]
