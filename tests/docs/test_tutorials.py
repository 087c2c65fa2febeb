"""The tutorials, followed from top to bottom: each command works, and prints what the page shows."""

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.append(str(DOCS))
import make_tutorials as tutorials  # noqa: E402

NEEDED = {"own-classes": "sklearn", "serving": "uvicorn", "search-a-cell": "pytorch_lightning"}


def shape(page: str) -> list[str]:
    """Return the lines of a page without what depends on the machine, the time and the weights."""
    lines = [re.sub(r"^ +\d[\d.]*%? .*", "RESULT", line) for line in page.splitlines()]
    lines = [re.sub(r"(OpenVINO \d|SHA-256|images/s).*", "X", line) for line in lines]
    lines = [re.sub(r'("(?:class|name|path)": ?)"[^"]*"', r'\1"X"', line) for line in lines]
    return [re.sub(r" +", " ", re.sub(r"-+", "-", re.sub(r"\d[\d.,e+-]*", "0", line))).strip() for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("page", tutorials.PAGES, ids=lambda page: page.stem)
def test_a_tutorial_can_be_followed(page: Path) -> None:
    if page.stem in NEEDED:
        pytest.importorskip(NEEDED[page.stem])
    text = page.read_text("utf-8")
    with tutorials.reader() as person:
        found = tutorials.followed(text, person)
    assert shape(found) == shape(text)


def test_similar_photos_are_of_the_same_class() -> None:
    """The page promises that the nearest of a cat are cats, and of a ship ships: the numbers are the network's own."""
    page = (DOCS / "tutorials/similar-photos.md").read_text("utf-8")
    for name in ("cat", "ship"):
        found = re.search(rf"^small/{name}/\d+\.jpg\n((?: +\S+  small/.*\n)+)", page, re.MULTILINE)
        assert found
        nearest = re.findall(r"small/(\w+)/", found[1])
        assert nearest.count(name) >= 4, nearest


def test_every_kind_of_block_is_followed(tmp_path: Path) -> None:
    page = (
        "```console\n$ echo one\nold\n$ cat a.toml\n```\n"
        "```toml\n# b.toml\nx = 1\n```\n"
        "```python\ny = 2\nprint('begin')\n```\n"
        "```text\nold\n```\n"
        "```python\nprint(y, open('b.toml').read())\n```\n"
        "```text\n```\n"
        "<!-- not run -->\n```python\n1 / 0\n```\n"
    )
    (tmp_path / "a.toml").write_text("z = 3\n")
    person = tutorials.Reader(tmp_path)
    try:
        assert tutorials.followed(page, person) == (
            "```console\n$ echo one\none\n$ cat a.toml\nz = 3\n```\n"
            "```toml\n# b.toml\nx = 1\n```\n"
            "```python\ny = 2\nprint('begin')\n```\n"
            "```text\nbegin\n```\n"
            "```python\nprint(y, open('b.toml').read())\n```\n"
            "```text\n2 # b.toml\nx = 1\n\n```\n"
            "<!-- not run -->\n```python\n1 / 0\n```\n"
        )
    finally:
        person.close()


@pytest.mark.parametrize("block", ["console\n$ false", "python\nprint('before')\n1 / 0"])
def test_a_block_that_fails_is_an_error(block: str, tmp_path: Path) -> None:
    person = tutorials.Reader(tmp_path)
    try:
        with pytest.raises(RuntimeError, match=r"exit code 1: false|before\nTraceback(.|\n)*ZeroDivisionError"):
            tutorials.followed(f"```{block}\n```\n", person)
    finally:
        person.close()
