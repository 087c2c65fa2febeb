"""The documentation site: built from nothing, then read in Chromium."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.axe import violations
from tests.helpers.chromium import browser_page, wait_until
from tests.helpers.contrast import low_contrasts

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
        wait_until(page, "document.querySelector('#search-results a[href^=\"images.html\"]') !== null")  # one by one


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


def test_examples_are_shown(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text("utf-8")
    assert text.count("Example") > 70


def test_every_path_of_the_server_is_described(site: Path) -> None:
    pytest.importorskip("starlette", reason="the extra serve is not installed")
    from pnasnet import Module
    from pnasnet.serve import Service
    from pnasnet.serve.openapi import describe

    text = re.sub(r"<[^>]+>", "", (site / "reference" / "http.html").read_text("utf-8"))
    paths = describe(Service({"tiny": Module("pnasnet_tiny", engine="fake")}))["paths"]
    assert len(paths) > 15
    for path, methods in paths.items():
        for method in methods:
            assert f"{method.upper()} {path}" in text
    for status in ("413", "429", "503"):
        assert status in text


def test_notebooks_are_shown_with_their_outputs(site: Path) -> None:
    for name in ("features-and-search", "own-classes", "cell-search"):
        text = (site / "notebooks" / f"{name}.html").read_text("utf-8")
        assert "cell_output" in text
        assert re.search(r"<img[^>]+_images/", text), name


def test_every_page_can_be_reached(site: Path) -> None:
    index = (site / "index.html").read_text("utf-8")
    pages = [path.relative_to(site).as_posix() for path in site.rglob("*.html")]
    tutorials = [page for page in pages if page.startswith(("tutorials/", "notebooks/"))]
    assert len(tutorials) == 8
    assert all(f'href="{page}"' in index for page in (*tutorials, "faq.html", "reference/http.html", "citing.html"))


def test_no_page_is_wider_than_a_phone(site: Path) -> None:
    with browser_page() as page:
        page.set_viewport_size({"width": 390, "height": 800})
        for path in sorted(site.rglob("*.html")):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name


def test_what_scrolls_can_be_reached_by_keyboard(site: Path) -> None:
    """Code and tables that are wider than a phone, which the theme leaves without a place in the order of Tab."""
    with browser_page() as page:
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto((site / "benchmarks.html").as_uri())
        assert page.locator("th.head").count() > 10
        assert not [each for each in violations(page) if each.startswith("empty-table-header")]
        page.goto((site / "weights.html").as_uri())
        found = violations(page)
        assert not [each for each in found if each.startswith(("scrollable-region-focusable", "aria-", "landmark-"))]


def test_the_site_is_dark_at_night(site: Path) -> None:
    with browser_page() as page:
        page.emulate_media(color_scheme="dark")
        page.goto((site / "index.html").as_uri())
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(level) for level in background.removeprefix("rgb(").removesuffix(")").split(",")) < 60


def test_text_can_be_read_on_every_page(site: Path) -> None:
    """By day and by night; of some texts axe-core cannot tell the background, which these colours are computed for."""
    with browser_page() as page:
        page.set_content("<p style='color: #999'>pale <b style='color: #767676'>grey</b></p>")
        assert low_contrasts(page) == (2, ["2.85: pale"])
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            for path in sorted(site.rglob("*.html")):
                page.goto(path.as_uri())
                texts, low = low_contrasts(page)
                assert texts > 10, path.name
                assert low == [], (path.name, scheme)
