"""How to cite: the version is the package's, and the papers are those of CITATION.cff."""

import re
from pathlib import Path

import pnasnet

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/citing.md").read_text("utf-8")
CITATION = (ROOT / "CITATION.cff").read_text("utf-8")


def test_the_version_is_the_packages() -> None:
    assert re.findall(r"version = \{(.*)\}", PAGE) == [pnasnet.__version__]
    assert re.findall(r"^version: (.*)$", CITATION, re.MULTILINE) == [pnasnet.__version__]


def test_the_papers_are_the_same() -> None:
    titles = re.findall(r'^ +title: "(.*)"$', CITATION, re.MULTILINE)
    assert len(titles) == 2
    assert all(f"title = {{{title}}}" in PAGE for title in titles)
