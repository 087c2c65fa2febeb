"""One figure for one thing: what other pages say of speed is on the page of benchmarks, which dates all of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/benchmarks.md").read_text("utf-8")
REPEATED = [
    ("README.md", "Measured"),
    ("docs/engines.md", "How fast"),
    ("docs/engines.md", "The second start"),
    ("docs/similar.md", "An index"),
    ("docs/decisions/openvino.md", ""),
    ("docs/decisions/index.md", ""),
]
"""Pages, and their sections, that repeat figures."""
NOT_OF_SPEED = {"1 KB"}
"""What an index reads of each vector, by its layout."""
_NUMBER = r"\d(?:[\d.,]*\d)?"
_FIGURE = re.compile(rf"{_NUMBER}(?: to {_NUMBER})? (?:s|ms|GB|MB|KB|%|images/s)(?![\w/])|(?<=\| )\d\.\d+(?= \|)")


def sections(text: str) -> dict[str, str]:
    """Return the text of each section by its heading; of the whole page by ""."""
    parts = re.split(r"^##+ (.+)$", text, flags=re.MULTILINE)
    return {"": text} | dict(zip(parts[1::2], parts[2::2], strict=True))


def test_figures() -> None:
    text = "1.4 to 1.5 s, 825 MB, 1,160 cells, 200 of 200, 99.0 %, a disk of 0.95 GB/s\n| openvino | 0.290 | 2.16 |\n"
    assert _FIGURE.findall(text) == ["1.4 to 1.5 s", "825 MB", "99.0 %", "0.290", "2.16"]


@pytest.mark.parametrize(("page", "section"), REPEATED)
def test_other_pages_repeat_the_same_figures(page: str, section: str) -> None:
    text = sections((ROOT / page).read_text("utf-8"))[section]
    numbers = set(re.findall(_NUMBER, PAGE))
    found = [figure for figure in _FIGURE.findall(text) if figure not in NOT_OF_SPEED]
    assert found
    wrong = [figure for figure in found if not set(re.findall(_NUMBER, figure)) <= numbers]
    assert wrong == [], "not on docs/benchmarks.md"


def test_every_section_has_a_date() -> None:
    for name, text in sections(PAGE).items():
        if name.startswith("`"):
            assert re.search(r"measured on (2026|20[3-9]\d)-\d\d-\d\d|\*\*Not measured on a GPU yet", text, re.I), name
