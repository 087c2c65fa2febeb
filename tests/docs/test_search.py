"""docs/cell-search.md: its figures are those of the journal beside it."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pnasnet.search.analysis import Findings, Ranks, rank_table, read_findings
from pnasnet.search.config_file import find_config
from pnasnet.search.journal import JOURNAL

from tests.helpers.search_data import CONFIG, fill

DOCS = Path(__file__).parents[2] / "docs"
sys.path.append(str(DOCS))
import make_search as figures  # noqa: E402


def measured() -> str:
    """Return what is between the page's marks."""
    page = (DOCS / "cell-search.md").read_text("utf-8")
    return page.partition("<!-- measured: begin -->")[2].partition("<!-- measured: end -->")[0]


@pytest.fixture
def kept(tmp_path: Path) -> Findings:
    """What the journal beside the page says; of a copy, so that nothing can touch it."""
    shutil.copy(DOCS / "search" / JOURNAL, tmp_path)
    return read_findings(tmp_path)


def test_figures_are_those_of_the_journal(kept: Findings) -> None:
    assert measured().strip().startswith("\n".join(figures.comparison_lines(kept)))


def test_rank_correlations_are_those_of_the_journal(kept: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the predictor whose figures no rounding changes; the others' depend on torch's."""
    monkeypatch.setattr("pnasnet.search.analysis.NAMES", ("linear",))
    lines = list(figures.rank_lines(rank_table(kept)))[2:]
    assert len(lines) == 2
    assert [line for line in measured().splitlines() if line.startswith("| linear |")] == lines


def test_the_run_is_what_the_page_says(kept: Findings) -> None:
    runs = {name: [len(steps) for steps in seeds.values()] for name, seeds in kept.steps.items()}
    assert runs == {name: [103] * 5 for name in ("progressive", "random", "evolution")}
    config = find_config("two_cores")
    assert kept.config == replace(config, notes="")
    assert (DOCS / "search" / JOURNAL).stat().st_size < 2_000_000


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
        "| linear | 1 | 0.800 | 0.400 ± 0.000 | \N{EN DASH} | \N{EN DASH} |",
    ]


def test_marks_are_kept() -> None:
    page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\nleft\n<!-- y: end -->\n"
    assert figures.replaced(page, "x", ["new", "lines"]) == page.replace("old", "new\nlines")
    assert figures.replaced(figures.replaced(page, "x", ["1"]), "x", ["new"]) == figures.replaced(page, "x", ["new"])


def test_the_page_shows_what_was_measured_of_predictors() -> None:
    page = (DOCS / "cell-search.md").read_text("utf-8")
    lines = list(figures.trial_lines())
    assert len(lines) == 2 + 2 * 6
    assert lines[5].startswith("| mlp-ensemble | 1 | 55 | ")
    assert figures.replaced(page, "trials", lines) == page
