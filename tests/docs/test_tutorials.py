"""README.md, the quickstart and the tutorials, followed from top to bottom: what they print is what the page shows."""

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
    lines = [re.sub(r"^\{'blocks'.*", "CELL", line) for line in lines]
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


def test_similar_photos_are_of_the_same_kind() -> None:
    """The pages promise that the photos nearest to a windmill are windmills: the outputs are those of the model."""
    for name in ("README.md", "docs/quickstart.md", "docs/tutorials/similar-photos.md"):
        page = (DOCS.parent / name).read_text("utf-8")
        found = re.search(r"^examples/photos/windmills/\w+\.jpg\n((?: +\S+  examples/.*\n)+)", page, re.MULTILINE)
        assert found, name
        nearest = re.findall(r"examples/photos/(\w+)/", found[1])
        assert nearest.count("windmills") >= len(nearest) - 1, nearest


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
