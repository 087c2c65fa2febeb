"""Write the figures of docs/cell-search.md from a search's journal: tables between its marks, and charts beside it.

Command:  pnasnet search run two_cores train.parquet -o runs/two_cores --workers 2
          python docs/make_search.py runs/two_cores

copies the journal and what `pnasnet search evaluate-predictors` measured on it to docs/search, writes its report and
charts there, and replaces the text between the marks. Without an argument it uses the existing journal.
"""

import json
import math
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pnasnet.reports.charts import as_file
from pnasnet.search.analysis import TOP, Findings, Ranks, place_pnasnet5, rank_table, read_findings
from pnasnet.search.comparing import differences
from pnasnet.search.drawing import draw_cell
from pnasnet.search.journal import JOURNAL, Journal
from pnasnet.search.outputs import REPORT
from pnasnet.search.predictors import papers_ranks, rank_text
from pnasnet.search.report import equal_models, progress_charts, write_report
from pnasnet.search.trials import TRIALS, Trials
from pnasnet.support.text import duration, percent

DOCS = Path(__file__).parent
KEPT = DOCS / "search"


def main() -> None:
    """Write everything."""
    if len(sys.argv) > 1:
        KEPT.mkdir(exist_ok=True)
        with Journal(Path(sys.argv[1]) / JOURNAL, readonly=True) as journal:
            journal.copy_to(KEPT / JOURNAL)
        if (measured := Path(sys.argv[1]) / TRIALS).exists():
            shutil.copyfile(measured, KEPT / TRIALS)
    findings = read_findings(KEPT)
    for name, chart in zip(("best", "top"), progress_charts(findings), strict=True):
        (KEPT / f"{name}.svg").write_text(as_file(chart), "utf-8")
    (KEPT / "cell.svg").write_text(draw_cell(findings.best[0][0]), "utf-8")
    ranks = rank_table(findings)
    write_report(KEPT / REPORT, findings, ranks, place_pnasnet5(findings))
    lines = [*comparison_lines(findings), "", *rank_lines(ranks)]
    page = DOCS / "cell-search.md"
    text = replaced(page.read_text("utf-8"), "measured", lines)
    page.write_text(replaced(text, "trials", trial_lines()), "utf-8")


def replaced(page: str, mark: str, lines: Iterable[str]) -> str:
    """Return the page with other lines between the marks of a name."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, *lines, end + after])


def trial_lines() -> Iterator[str]:
    """Yield the table of predictors on random cells, beside the paper's."""
    yield "| predictor | blocks | cells | fitted | next size | paper: fitted | paper: next size |"
    yield "|---|---|---|---|---|---|---|"
    for row in (Trials(**each) for each in json.loads((KEPT / TRIALS).read_text("utf-8"))["rows"]):
        values = [f"{rank_text(row.fitted)} ± {rank_text(row.fitted_error)}"]
        values.append(f"{rank_text(row.next)} ± {rank_text(row.next_error)}")
        values += map(rank_text, papers_ranks(row.predictor, row.level) or (math.nan, math.nan))
        yield f"| {row.predictor} | {row.level} | {row.cells} | {' | '.join(values)} |"


def comparison_lines(findings: Findings) -> Iterator[str]:
    """Yield the cost of the search, and a table of the algorithms at equal numbers of models."""
    children, child = findings.children.values(), findings.config.child
    machines = "; ".join(sorted({each.machine for each in children}))
    seconds = sum(each.seconds for each in children)
    noise = percent(0.5 / child.validation_images**0.5)
    yield (
        f"{len(children):,} cells were trained in {duration(seconds)} of one worker's time ({machines}). Chance is "
        f"{percent(1 / len(findings.classes))}; measured on {child.validation_images:,} images, an accuracy has a "
        f"standard deviation of up to {noise} of its own."
    )
    yield from ("", f"| algorithm | seeds | models | best | mean of the {TOP} best |", "|---|---|---|---|---|")
    for row in equal_models(findings):
        yield f"| {' | '.join(map(str, row))} |"
    yield from (
        "",
        "| difference of the mean best | | p | models to equal the other's final mean |",
        "|---|---|---|---|",
    )
    for each in differences(findings):
        yield f"| {' | '.join(each.row())} |"
    yield from ("", "![Best accuracy against models trained](search/best.svg)")
    yield f"![Mean of the {TOP} best against models trained](search/top.svg)"
    yield f"![The best cell, {percent(findings.best[0][1].accuracy)}](search/cell.svg)"


def rank_lines(ranks: list[Ranks]) -> Iterator[str]:
    """Yield the table of rank correlations, beside the paper's."""
    yield "| predictor | blocks | fitted | next size | paper: fitted | paper: next size |"
    yield "|---|---|---|---|---|---|"
    for row in ranks:
        fitted, after = map(rank_text, papers_ranks(row.predictor, row.level) or (math.nan, math.nan))
        yield (
            f"| {row.predictor} | {row.level} | {rank_text(row.fitted)} | {rank_text(row.next)} ± "
            f"{rank_text(row.deviation)} | {fitted} | {after} |"
        )


if __name__ == "__main__":
    main()
