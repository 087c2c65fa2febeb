"""The page of `pnasnet similar`, used in a browser."""

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers.chromium import browser_page, wait_until
from tests.helpers.cli_runs import PHOTOS, run
from tests.helpers.vectors_data import clustered, write_features


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Write features of twelve photos, in `tmp_path/photos`."""
    names = []
    for number in range(12):
        photo = sorted(PHOTOS.glob("*.jpg"))[number % 4]
        names.append(str(tmp_path / "photos" / f"{number}_{photo.name}"))
        Path(names[-1]).parent.mkdir(exist_ok=True)
        shutil.copy(photo, names[-1])
    return write_features(tmp_path / "features.parquet", clustered(12), names)


def found(query: Path, features: Path) -> list[tuple[str, float]]:
    similar = json.loads(run("similar", query, features, "-k", "11", "--json").stdout)["similar"]
    return [(each["path"], each["similarity"]) for each in similar]


def test_a_click_makes_an_image_the_query(tmp_path: Path, features: Path) -> None:
    """The neighbours among the page's images are those that the command finds; "back" returns to the answers."""
    path, photos = tmp_path / "similar.html", tmp_path / "photos"
    run("similar", photos / "0_astronaut.jpg", features, "-k", "11", "--html", path, "--root", photos)
    expected = found(photos / "6_coffee.jpg", features)
    with browser_page() as page:
        page.goto(path.as_uri())
        page.locator("#answers figure", has_text="6_coffee.jpg").locator("button.ask").click()
        wait_until(page, "!document.querySelector('#asked').hidden")
        assert page.inner_text("#asked h2") == f"{photos}/6_coffee.jpg"
        assert page.inner_text("#asked .query .size").startswith("640 x 480 pixels, ")
        shown = page.eval_on_selector_all("#asked .gallery img", "images => images.map((image) => image.alt)")
        assert shown == [name for name, _ in expected]
        values = page.eval_on_selector_all("#asked .gallery b", "all => all.map((each) => Number(each.textContent))")
        assert values == pytest.approx([similarity for _, similarity in expected], abs=1e-4)
        page.locator("#asked .gallery button.ask").first.press("Enter")  # by keyboard, too
        wait_until(page, f"document.querySelector('#asked h2').textContent === {json.dumps(expected[0][0])}")
        page.go_back()
        page.go_back()
        wait_until(page, "document.querySelector('#asked').hidden && !document.querySelector('#answers').hidden")


def test_a_path_is_copied(tmp_path: Path, features: Path) -> None:
    path, photos = tmp_path / "similar.html", tmp_path / "photos"
    run("similar", photos / "0_astronaut.jpg", features, "-k", "1", "--html", path, "--root", photos)
    with browser_page() as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(path.as_uri())
        page.locator("button.copy").first.click()
        wait_until(page, "document.querySelector('#told').textContent.startsWith('Copied')")
        assert page.evaluate("navigator.clipboard.readText()") == f"{photos}/0_astronaut.jpg"
