"""Writes the report of a search as HTML, and comparisons of searches as SVG."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..architecture.cells import PNASNET5
from ..errors import InputError, UnknownNameError
from ..reports.charts import Chart, Colour, Line, as_file, draw, stack
from ..reports.pages import render
from ..support.arguments import checked
from ..support.files import check_target, write_text
from ..support.paths import with_last_name
from ..support.text import NOTHING, counted, percent
from .analysis import TOP, Curve, Findings, Placed, Ranks, curves, predicted_and_measured, read_findings
from .comparing import differences
from .config import ALGORITHMS
from .drawing import describe_cell, draw_cell
from .predictors import papers_ranks, rank_correlation, rank_text
from .session import Step

_SHOWN = 20
"""Number of the best cells that are drawn."""
_COLOURS: dict[str, Colour] = dict(zip(ALGORITHMS, ("one", "two", "three"), strict=True))


def write_report(path: Path, findings: Findings, ranks: Sequence[Ranks], placed: Placed | None) -> None:
    """Write the report. Raises `OutputError`, and `MissingExtraError` without matplotlib or Jinja2."""
    write_text(path, render("search_report.html", _values(findings, ranks, placed), {"rank": rank_text}))


def _values(findings: Findings, ranks: Sequence[Ranks], placed: Placed | None) -> dict[str, Any]:
    from markupsafe import Markup

    best = findings.best
    return {
        "version": __version__,
        "findings": findings,
        "config": findings.config,
        "best": best,
        "statuses": dict(sorted(Counter(child.status for child in findings.children.values()).items())),
        "seconds": sum(child.seconds for child in findings.children.values()),
        "machines": sorted({child.machine for child in findings.children.values()}),
        "searches": list(_searches(findings)),
        "compared": equal_models(findings),
        "differences": [each.row() for each in differences(findings)],
        # Not escaped: these are made here, without names from outside.
        "progress": [Markup(svg) for svg in progress_charts(findings)],
        "scatters": [(title, Markup(svg)) for title, svg in _scatters(findings)],
        "ranks": [(each, papers_ranks(each.predictor, each.level)) for each in ranks],
        "cells": [(cell, child, Markup(draw_cell(cell)), describe_cell(cell)) for cell, child in best[:_SHOWN]],
        "placed": placed,
        "top": TOP,
        "pnasnet5": Markup(draw_cell(PNASNET5)) if placed else None,
    }


def _searches(findings: Findings) -> Iterator[tuple[str, int, list[Step], float]]:
    """Yield algorithm, seed, steps, and seconds of training of each search."""
    for algorithm, runs in findings.steps.items():
        for seed, steps in runs.items():
            yield algorithm, seed, steps, sum(step.child.seconds for step in steps)


def equal_models(findings: Findings) -> list[tuple[str, int, int, str, str]]:
    """Return rows at equal numbers of models: algorithm, seeds, models, best accuracy, mean of the five best."""
    best, top = curves(findings), curves(findings, TOP)
    count = min((len(curve.mean) for curve in best), default=0)
    return [
        (one.algorithm, one.seeds, count, _at(one, count), _at(five, count))
        for one, five in zip(best, top, strict=True)
        if count
    ]


def _at(curve: Curve, count: int) -> str:
    mean, deviation = float(curve.mean[count - 1]), float(curve.deviation[count - 1])
    if math.isnan(mean):
        return NOTHING  # fewer models than cells in the mean
    return f"{percent(mean)} ± {percent(deviation)}" if curve.seeds > 1 else percent(mean)


# Charts.


def progress_charts(findings: Findings) -> Iterator[str]:
    """Yield charts, as `<svg>`, of the best accuracy and of the mean of the five best, against models trained."""
    for top, what in ((1, "best"), (TOP, f"mean of the {TOP} best")):
        made = curves(findings, top)
        if made := [curve for curve in made if not math.isnan(curve.mean[-1])]:
            words = "; ".join(f"{curve.algorithm} ends at {100 * curve.mean[-1]:.2f} %" for curve in made)
            label = f"Accuracy of the {what} against models trained. {words}."
            lines = [_line(curve) for curve in made]
            yield draw(Chart(lines, "models trained", shares=True, up=what), label, f"progress-{top}")


def _line(curve: Curve) -> Line:
    points = [(index + 1.0, value) for index, value in enumerate(curve.mean) if not math.isnan(value)]
    band = [(x, y - curve.deviation[int(x) - 1], y + curve.deviation[int(x) - 1]) for x, y in points if curve.seeds > 1]
    return Line(curve.algorithm, points, _COLOURS[curve.algorithm], "plain", band)


def _scatters(findings: Findings) -> Iterator[tuple[str, str]]:
    """Yield title and chart of measured against predicted accuracy for each number of blocks, of the first seed."""
    _, steps = next(iter(findings.steps.get("progressive", {}).items()), (0, []))
    for level, pairs in predicted_and_measured(steps).items():
        rho = rank_correlation([p for p, _ in pairs], [m for _, m in pairs])
        title = f"{level} blocks: {len(pairs)} cells, rank correlation {rank_text(rho)}"
        chart = Chart([Line("cells", pairs, "one", "points")], "predicted", shares="both", up="measured")
        yield title, draw(chart, f"Predicted and measured accuracy of cells of {title}.", f"scatter-{level}")


# Comparing folders.


@checked
def write_comparison(
    output: Path, folders: Sequence[Path], tops: Sequence[int] = (), algorithms: Sequence[str] = ()
) -> None:
    """Write the curves of the searches in `folders` as an SVG file; without `tops` or `algorithms`, all of them.

    Raises `OutputError`; `UnknownNameError` for an unknown algorithm; and `InputError` for a folder without a search or
    named twice, and as `comparison_file`.
    """
    check_target(output, ".svg")
    for name in algorithms:
        if name not in ALGORITHMS:
            raise UnknownNameError.of("algorithm", name, ALGORITHMS)
    named = list(zip(_names(folders), map(read_findings, folders), strict=True))
    write_text(output, comparison_file(named, tops or (1, TOP), algorithms or ALGORITHMS))


def _names(folders: Sequence[Path]) -> list[str]:
    """Return as many last parts of each path as tell the folders apart. Raises `InputError` for equal folders."""
    paths = [with_last_name(folder).absolute() for folder in folders]
    for count in range(1, 1 + max((len(path.parts) for path in paths), default=1)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise InputError("a folder is named twice: name each one once")


def comparison_file(
    named: Sequence[tuple[str, Findings]], tops: Sequence[int] = (1, TOP), algorithms: Sequence[str] = ALGORITHMS
) -> str:
    """Return an SVG file with a curve for each folder and algorithm, at most three in all.

    Args:
        named: the name of each folder, and its findings.
        tops: numbers of best cells whose mean accuracy is drawn, in a chart for each number.
        algorithms: the algorithms to draw.

    Raises:
        InputError: there are more than three curves, or none.
    """
    return as_file(stack([_comparison(named, top, algorithms) for top in tops]))


def _comparison(named: Sequence[tuple[str, Findings]], top: int, algorithms: Sequence[str]) -> str:
    lines = [
        (f"{name} {curve.algorithm}" if len(named) > 1 else curve.algorithm, _line(curve))
        for name, findings in named
        for curve in curves(findings, top)
        if curve.algorithm in algorithms
    ]
    if not any(line.points for _, line in lines):
        raise InputError(f"nothing to compare: fewer than {counted(top, 'model')} trained so far")
    if len(lines) > len(_COLOURS):
        raise InputError(
            f"{len(lines)} curves are too many for one chart: choose at most {len(_COLOURS)}, with fewer folders or "
            "--algorithm"
        )
    drawn = [
        Line(name, line.points, colour, "plain", line.band)
        for (name, line), colour in zip(lines, _COLOURS.values(), strict=False)
    ]
    what = "best accuracy" if top == 1 else f"mean of the {top} best"
    chart = Chart(drawn, "models trained", shares=True, up=what)
    return draw(chart, f"{what} against models trained", f"compare-{top}")
