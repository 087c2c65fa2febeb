"""What axe-core finds wrong with a page in a browser."""

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

_CHARTS = ("image node", "too short to determine")
"""What axe-core says of the text of charts, such as a tick with one digit. Its colours are those of the page."""


def violations(page: "Page") -> list[str]:
    """Return the rules of axe-core that the page breaks, each with the first element that does, and its advice."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    # axe cannot tell the contrast of text before a gradient: the one of scrolling tables only shades their edges.
    page.evaluate("for (const each of document.querySelectorAll('.scroll')) each.style.background = 'none'")
    found = page.evaluate("axe.run(document)")
    assert len(found["passes"]) > 5
    unsure = [
        each
        for each in found["incomplete"]
        if each["id"] == "color-contrast" and not any(known in each["nodes"][0]["failureSummary"] for known in _CHARTS)
    ]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}: {each['nodes'][0]['failureSummary']}"
        for each in found["violations"] + unsure
    ]
