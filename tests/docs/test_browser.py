"""The page of examples/browser, built with its script and used in Chromium: it classifies photos as `Module` does."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pnasnet import Module
from pnasnet.images import decode

from tests.helpers.chromium import browser_page, wait_until
from tests.helpers.cli_runs import PHOTOS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "examples/browser/build.py"
SAME_PIXELS = 1e-5
BROWSERS_DECODER = 0.05
"""Largest difference of a probability where the browser decodes JPEG; docs/browser.md states it."""
ROWS = """[...document.querySelectorAll("#classes tbody tr")].map(
  (row) => [row.querySelector("th").textContent, row.querySelector("data").value])"""
DROP = """async ([name, content]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name, {type: "image/png"}));
  document.querySelector("#drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, cancelable: true}));
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the page, serve it as `python -m http.server` does, and return its address."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: it downloads ONNX Runtime for browsers (on Debian: apt-get install npm)")
    folder = tmp_path_factory.mktemp("page")
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], check=True, timeout=600)
    server = ThreadingHTTPServer(("localhost", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


@pytest.fixture
def page(address: str) -> Iterator["Page"]:
    with browser_page() as page:
        page.goto(address)
        wait_until(page, "document.querySelector('#status').textContent !== 'Loading the model …'", 120)
        assert page.text_content("#status") == "Ready."
        yield page


def shown(page: "Page", name: str) -> list[tuple[str, float]]:
    """Return the classes on the page and their probabilities, once it has classified the photo of this name."""
    wait_until(page, f"document.querySelector('#status').textContent.startsWith({name + ', '!r})", 120)
    assert "classified in " in str(page.text_content("#status"))
    rows = page.evaluate(ROWS)
    return [(str(name), float(probability)) for name, probability in rows]


def assert_classes(found: list[tuple[str, float]], photo: Path, tolerance: float, preset: str | None = None) -> None:
    (expected,) = Module("pnasnet_small").classify(photo, top=200, preset=preset)
    assert len(found) == 5
    for (name, probability), (_, likely) in zip(found, expected, strict=False):
        assert probability == pytest.approx(dict(expected)[name], abs=tolerance), name
        assert probability == pytest.approx(likely, abs=tolerance)


def test_the_same_pixels_have_the_same_probabilities(page: "Page", tmp_path: Path) -> None:
    for photo in sorted(PHOTOS.glob("*.jpg")):
        png = tmp_path / f"{photo.stem}.png"
        Image.fromarray(decode(photo)).save(png)
        page.set_input_files("#file", png)
        assert_classes(shown(page, png.name), photo, SAME_PIXELS)


def test_photos_that_the_browser_decodes_differ_little(page: "Page") -> None:
    for photo in sorted(PHOTOS.glob("*.jpg")):
        page.set_input_files("#file", photo)
        assert_classes(shown(page, photo.name), photo, BROWSERS_DECODER)


def test_a_photo_is_turned_upright(page: "Page", tmp_path: Path) -> None:
    photo = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(PHOTOS / "chelsea.jpg") as picture:
        picture.save(photo, exif=exif)
    page.set_input_files("#file", photo)
    assert_classes(shown(page, photo.name), photo, SAME_PIXELS, "hub+exif")


def test_a_photo_is_dropped_after_a_file_that_is_no_image(page: "Page", tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#file", tmp_path / "notes.txt")
    wait_until(page, "document.querySelector('#status').textContent.startsWith('notes.txt: ')")
    assert page.text_content("#status") == "notes.txt: this browser cannot decode it as an image."
    photo = tmp_path / "small.png"
    with Image.open(PHOTOS / "rocket.jpg") as picture:
        picture.resize((80, 60)).save(photo)
    page.evaluate(DROP, ["small.png", base64.b64encode(photo.read_bytes()).decode()])
    assert_classes(shown(page, "small.png"), photo, SAME_PIXELS)
    assert page.is_visible("#classes")
