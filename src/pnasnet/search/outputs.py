"""What a search leaves beside its journal: the best cells as networks and pictures, and the report."""

from pathlib import Path
from typing import Any

from ..architecture.network_file import write_network
from ..architecture.zoo import NamedNetwork
from ..support.files import write_text
from .analysis import place_pnasnet5, rank_table, read_findings
from .drawing import draw_cell
from .journal import Child
from .report import write_report

REPORT = "report.html"
KEPT = 5
"""How many of the best cells are written."""


def write_outputs(folder: Path) -> list[tuple[Path, Child]]:
    """Write what the folder's journal says, and return the files of the best cells, best first.

    `best.json` and `best-2.json` to `best-5.json` are networks, `best.svg` and so on are their cells' pictures;
    `report.html` has all figures. Raises `OutputError`, and `InputError` where the journal is damaged.
    """
    findings = read_findings(folder)
    written = []
    for rank, (cell, child) in enumerate(findings.best[:KEPT], 1):
        path = folder / ("best.json" if rank == 1 else f"best-{rank}.json")
        spec = findings.config.scaled_up(cell, len(findings.classes))
        write_network(path, NamedNetwork(f"{folder.name}-{rank}", spec), about(child))
        write_text(path.with_suffix(".svg"), draw_cell(cell))
        written.append((path, child))
    write_report(folder / REPORT, findings, rank_table(findings), place_pnasnet5(findings))
    return written


def about(child: Child) -> dict[str, Any]:
    """Return what a network's file says of where its cell comes from."""
    return {
        "found by": "pnasnet search",
        "accuracy of the child": child.accuracy,
        "status": child.status,
        "trained on": child.machine,
        "finished": child.finished,
    }
