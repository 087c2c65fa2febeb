"""docs/search.md: its figures are those of the journal beside it."""

import sys
from dataclasses import replace
from pathlib import Path

from pnasnet.search.analysis import Ranks, read_findings
from pnasnet.search.journal import JOURNAL
from search_data import CONFIG, fill

DOCS = Path(__file__).parent.parent / "docs"
sys.path.append(str(DOCS))
import make_search as figures  # noqa: E402


def measured() -> str:
    """Return what is between the page's marks."""
    return (DOCS / "search.md").read_text("utf-8").partition(figures.BEGIN)[2].partition(figures.END)[0]


def test_figures_are_those_of_the_journal() -> None:
    """What a predictor gives depends on torch's rounding; the rest follows from the rows."""
    if not (DOCS / "search" / JOURNAL).exists():
        assert measured().strip() == "Not measured yet."
        return
    assert measured().strip().startswith("\n".join(figures.comparison_lines(read_findings(DOCS / "search"))))


def test_lines_of_a_journal(tmp_path: Path) -> None:
    config = replace(CONFIG, search=replace(CONFIG.search, seeds=(0, 1)))
    lines = list(figures.comparison_lines(read_findings(fill(tmp_path / "run", config))))
    assert " cells were trained in " in lines[0]
    assert [line.split(" | ")[:3] for line in lines[4:7]] == [
        [f"| {name}", "2", "40"] for name in ("progressive", "random", "evolution")
    ]
    assert all("±" in line for line in lines[4:7])


def test_lines_of_rank_correlations() -> None:
    rows = [Ranks("lstm", 2, 0.9, 0.5, 0.1), Ranks("linear", 1, 0.8, 0.4, 0.0)]
    assert list(figures.rank_lines(rows))[2:] == [
        "| lstm | 2 | 0.900 | 0.500 ± 0.100 | 0.996 | 0.424 |",
        "| linear | 1 | 0.800 | 0.400 ± 0.000 |  |  |",
    ]


def test_marks_are_kept() -> None:
    page = f"a\n{figures.BEGIN}\nold\n{figures.END}\nb\n"
    assert figures.replaced(page, "new") == f"a\n{figures.BEGIN}\nnew\n{figures.END}\nb\n"
    assert figures.replaced(figures.replaced(page, "x"), "new") == figures.replaced(page, "new")
