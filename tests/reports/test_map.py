"""The map of images in Chromium: similarity as a colour, fingers, and 50,000 points."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pnasnet.pictures import Access
from pnasnet.vectors import ExploreOptions, build_index, make_map, map_page, open_features

from tests.helpers.axe import violations
from tests.helpers.chromium import browser_page
from tests.helpers.cli_runs import PHOTOS
from tests.helpers.vectors_data import clustered, cosines, write_features

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

PHOTO_NAMES = [str(path) for path in sorted(PHOTOS.glob("*.jpg"))]


def written(folder: Path, count: int, *, length: int = 40, neighbours: int = 15) -> Path:
    """Write the map of `count` images in ten folders, the first four of which are photos; return its path."""
    names = [*PHOTO_NAMES, *(f"photos/animals{number % 10}/{number}.jpg" for number in range(len(PHOTO_NAMES), count))]
    features = open_features(write_features(folder / "f.parquet", clustered(count, length), names, group=1000))
    options = ExploreOptions(projection="pca", neighbours=neighbours)
    with build_index(features) as index:
        page = map_page(make_map(index, options), "Map of photos", options, Access((str(PHOTOS),)))
    (folder / "map.html").write_text(page, "utf-8")
    return folder / "map.html"


def test_accessible_in_use(tmp_path: Path) -> None:
    """With a legend, a search, a selection, a marked image, and a lasso."""
    path = written(tmp_path, 64)
    with browser_page() as page:
        for width, scheme in ((1100, "light"), (1100, "dark"), (360, "light"), (360, "dark")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.goto(path.as_uri())
            page.click("details summary")
            page.click("#lasso")
            for label in ("folder", "similarity to the nearest image", "similarity to the marked image"):
                page.select_option("#colour", label=label)
                page.fill("#find", "photos")
                page.press("#find", "Enter")
                page.click("#take")
                assert page.locator("#legend li").count() > 0
                page.focus("#map")
                press(page, l=2, Enter=1, ArrowLeft=5)
                assert violations(page) == [], (width, scheme, label)
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_colour_by_similarity_to_the_marked_image(tmp_path: Path) -> None:
    path = written(tmp_path, 100)
    truth = cosines(clustered(100), clustered(100))
    with browser_page() as page:
        page.goto(path.as_uri())
        page.select_option("#colour", label="similarity to the marked image")
        assert page.inner_text("#legend") == "Click an image."
        for _ in range(2):
            x, y = page.evaluate("place(7)")
            page.click("#map", position={"x": x, "y": y})
            marked = page.evaluate("current")
            shown = page.evaluate("[...similaritiesTo(current)]")
            np.testing.assert_allclose(shown, truth[marked], atol=0.02)
            assert page.inner_text("#legend").endswith(" to 1")
            groups = np.array(page.evaluate("[...looks.groups]"))
            assert groups[marked] == groups.max() == 8  # the lightest
            assert groups[truth[marked].argmin()] == 0
            page.press("#map", "+")
        page.press("#map", "Escape")
        assert page.inner_text("#legend") == "Click an image."
        page.select_option("#colour", label="similarity to the nearest image")
        np.fill_diagonal(truth, -1)
        nearest = page.evaluate("[...new Float32Array(bytes(data.colourings.at(-1).values).buffer)]")
        np.testing.assert_allclose(nearest, truth.max(axis=1), atol=0.01)


def test_colours_do_not_change_which_thumbnails_are_seen(tmp_path: Path) -> None:
    path = written(tmp_path, 64)
    with browser_page() as page:
        page.goto(path.as_uri())
        page.evaluate("for (const i of Array(64).keys()) images.set(i, images.get(0))")
        page.evaluate("draw()")
        before = page.evaluate("drawn.map(([i]) => i)")
        page.select_option("#colour", label="similarity to the nearest image")
        page.evaluate("draw()")
        assert page.evaluate("[...order].some((i, place) => i !== place)")
        assert page.evaluate("drawn.map(([i]) => i)") == before


def test_fingers_move_zoom_and_mark(tmp_path: Path) -> None:
    path = written(tmp_path, 64)
    with browser_page() as page:
        page.goto(path.as_uri())
        box = page.locator("#map").bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        fingers = page.context.new_cdp_session(page)
        before = view(page)
        touch(fingers, [(x, y)], [(x + 40, y)], [(x + 80, y + 30)])
        moved = view(page)
        assert moved["scale"] == before["scale"]
        assert moved["x"] - before["x"] == pytest.approx(-80 / before["scale"])
        assert moved["y"] - before["y"] == pytest.approx(-30 / before["scale"])
        touch(fingers, [(x - 50, y), (x + 50, y)], [(x - 100, y), (x + 100, y)])
        assert view(page)["scale"] == pytest.approx(2 * before["scale"], rel=0.01)
        assert page.evaluate("current") == -1
        left, top = page.evaluate("place(0)")
        touch(fingers, [(box["x"] + left, box["y"] + top)])
        assert page.evaluate("current") >= 0


def test_lasso_by_keyboard(tmp_path: Path) -> None:
    """Arrows move a cross, and Enter at two opposite corners selects what is between; the cross takes the map along."""
    path = written(tmp_path, 64)
    with browser_page() as page:
        page.goto(path.as_uri())
        page.focus("#map")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("looks.cross") is None  # without a lasso, arrows move the map
        page.keyboard.press("0")
        page.keyboard.press("l")
        press(page, ArrowLeft=3, ArrowUp=4)
        press(page, **{"Shift+ArrowUp": 2})
        page.keyboard.press("Enter")
        middle = page.evaluate("onScreen(looks.corner)")
        width, height = page.evaluate("[canvas.clientWidth, canvas.clientHeight]")
        assert middle == pytest.approx([width / 2 - 3 * 24, height / 2 - 4 * 24 - 2 * 4])
        press(page, ArrowRight=9, ArrowDown=8)
        before = view(page)
        inside = page.evaluate(
            "[...data.names.keys()].filter((i) => { const [x, y] = place(i), [a, b] = onScreen(looks.corner);"
            "  return x > a && x < a + 9 * 24 && y > b && y < b + 8 * 24; })"
        )
        page.keyboard.press("Enter")
        assert 0 < len(inside) < 64
        assert page.evaluate("[...data.names.keys()].filter((i) => selection[i])") == inside
        assert page.inner_text("#selected") == f"{len(inside)} selected"
        assert view(page) == before

        page.keyboard.press("Space")
        assert page.evaluate("current") == page.evaluate("pointAt(...onScreen(looks.cross))")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        assert page.evaluate("looks.corner") is None
        assert page.inner_text("#selected") == f"{len(inside)} selected"  # the corner alone was dropped
        page.keyboard.press("Escape")
        assert page.inner_text("#selected") == "0 selected"

        press(page, ArrowRight=40)
        assert page.evaluate("onScreen(looks.cross)[0]") == pytest.approx(width)
        assert view(page)["x"] > before["x"]
        page.keyboard.press("l")
        assert page.evaluate("looks.cross") is None


def press(page: "Page", **times: int) -> None:
    """Press keys, each so many times."""
    for key, number in times.items():
        for _ in range(number):
            page.keyboard.press(key)


def view(page: "Page") -> dict[str, float]:
    """Return the centre of the map's view and its scale."""
    found: dict[str, float] = page.evaluate("({...view})")
    return found


def touch(session: "CDPSession", *moves: list[tuple[float, float]]) -> None:
    """Put fingers on the screen, move them to other places one after the other, and lift them."""
    for number, places in enumerate(moves):
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
        kind = "touchMove" if number else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


FRAMES = """() => new Promise((resolve) => {
  const times = [];
  const step = (now) => {
    times.push(now);
    if (times.length > 60) return resolve(times);
    zoom(times.length % 2 ? 1.02 : 1 / 1.02, 300, 300);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


@pytest.mark.slow
def test_50000_points_move_in_software_rendering(tmp_path: Path) -> None:
    """docs/similar.md has the measurement; a third of its rate is allowed, of the quicker frames: others wait for work
    beside the test."""
    path = written(tmp_path, 50_000, length=8, neighbours=2)
    with browser_page() as page:
        page.goto(path.as_uri())
        page.select_option("#colour", label="folder")
        times = page.evaluate(FRAMES)
        frames = 1000 / np.quantile(np.diff(times), 0.25)
        print(f"{frames:.1f} frames a second")
        assert frames > 10
