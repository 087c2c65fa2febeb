"""The documentation site: built from nothing, then read in Chromium."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.chromium import browser_page, wait_until

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "embed",
    "classify",
    "export",
    "quantize",
    "serve",
    "similar",
    "duplicates",
    "explore",
    "finetune",
    "evaluate",
    "train",
    "models",
    "convert",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("furo", reason="the group docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "--keep-going",
        "-d",
        str(folder / "trees"),
    ]
    subprocess.run([*build, str(ROOT / "docs"), str(folder / "html")], check=True, timeout=600)
    return folder / "html"


def test_a_search_finds_the_page(site: Path) -> None:
    with browser_page() as page:
        page.goto((site / "search.html").as_uri() + "?q=orientation")
        wait_until(page, "document.querySelectorAll('#search-results li a').length > 0")
        assert "images.html" in str(page.evaluate("document.querySelector('#search-results').innerHTML"))


def test_every_command_is_described(site: Path) -> None:
    text = (site / "reference" / "commands.html").read_text("utf-8")
    for command in COMMANDS:
        assert f'id="pnasnet-{command}"' in text
        assert f"Usage: pnasnet {command} " in text


def test_public_names_are_described(site: Path) -> None:
    import pnasnet

    text = (site / "reference" / "python.html").read_text("utf-8")
    values = {"NASNET_A_NORMAL", "NASNET_A_REDUCTION", "PNASNET5", "__version__", "images"}
    missing = [name for name in pnasnet.__all__ if name not in values and f'id="pnasnet.{name}"' not in text]
    assert missing == ["PnasnetError"]  # described with the other errors
    assert 'id="pnasnet.errors.PnasnetError"' in text


def test_no_page_is_wider_than_a_phone(site: Path) -> None:
    with browser_page() as page:
        page.set_viewport_size({"width": 390, "height": 800})
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name


def test_the_site_is_dark_at_night(site: Path) -> None:
    with browser_page() as page:
        page.emulate_media(color_scheme="dark")
        page.goto((site / "index.html").as_uri())
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(level) for level in background.removeprefix("rgb(").removesuffix(")").split(",")) < 60
