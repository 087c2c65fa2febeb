"""A real browser without a screen, for tests of pages."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def dump_page(address: str, profile: Path, *, wait_ms: int = 2000, screenshot: Path | None = None) -> str:
    """Return the page as it is after its scripts ran for a while; skip the test where there is no Chromium.

    Args:
        address: of the page.
        profile: a folder for the browser's own files.
        wait_ms: how long, by the page's own clock.
        screenshot: a PNG file to write instead; what is returned is then empty.
    """
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *(f"--user-data-dir={profile}", "--window-size=1100,800", f"--virtual-time-budget={wait_ms}"),
            f"--screenshot={screenshot}" if screenshot else "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(profile)},
    )
    return done.stdout


def attribute(dom: str, name: str) -> str:
    """Return the value of an attribute that the page has once."""
    (value,) = re.findall(rf'\b{name}="([^"]*)"', dom)
    return str(value)
