"""Writes the output files of a search: networks and drawings of the best cells, and the report."""

from pathlib import Path

from ..architecture.network_file import write_network
from ..architecture.zoo import NamedNetwork
from ..reports.charts import check_packages
from ..support.arguments import checked
from ..support.files import write_text
from ..support.paths import with_last_name
from .analysis import place_pnasnet5, rank_table, read_findings
from .drawing import draw_cell
from .journal import Child
from .report import write_report

REPORT = "report.html"
KEPT = 5
"""Number of the best cells for which files are written."""


@checked
def write_outputs(folder: Path) -> list[tuple[Path, Child]]:
    """Write the results of a folder's journal; return the network files of the best cells with their children.

    `best.json` and `best-2.json` to `best-5.json` are networks, `best.svg` and so on are drawings of their cells, and
    `report.html` is the report. Raises `OutputError`, `InputError` if the journal is missing or damaged, and
    `MissingExtraError` if the report cannot be drawn.
    """
    check_packages("search")
    findings = read_findings(folder)
    written = []
    for rank, (cell, child) in enumerate(findings.best[:KEPT], 1):
        path = folder / ("best.json" if rank == 1 else f"best-{rank}.json")
        spec = findings.config.scaled_up(cell, len(findings.classes))
        origin = {
            "found by": "pnasnet search",
            "accuracy of the child": child.accuracy,
            "status": child.status,
            "trained on": child.machine,
            "finished": child.finished,
        }
        write_network(path, NamedNetwork(f"{with_last_name(folder).name}-{rank}", spec), origin)
        write_text(path.with_suffix(".svg"), draw_cell(cell))
        written.append((path, child))
    write_report(folder / REPORT, findings, rank_table(findings), place_pnasnet5(findings))
    return written
