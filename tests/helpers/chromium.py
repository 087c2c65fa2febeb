"""A real browser without a screen, for tests of pages."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser_page() -> Iterator["Page"]:
    """Open an empty page of 1100x800 pixels in Chromium; skip the test where there is none.

    It must not reach further than this machine: a request elsewhere fails the test.
    """
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    outside: list[str] = []

    def note(address: str) -> None:
        if not address.startswith(("file:", "data:", "blob:", "http://localhost:")):
            outside.append(address)

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.on("request", lambda request: note(request.url))
        yield page
        browser.close()
    assert outside == []


def wait_until(page: "Page", expression: str, seconds: float = 60) -> None:
    """Wait until an expression is true. Asked from outside: the pages' security policy allows no `eval` within."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never: {expression}"
        time.sleep(0.05)
