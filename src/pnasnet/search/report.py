"""The report of a search, one HTML file with everything in it; and the comparison of several, one SVG file each."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..architecture.cells import PNASNET5
from ..errors import InputError
from ..reports.charts import Chart, Colour, Line, as_file, draw, stack
from ..reports.pages import environment
from ..support.files import write_text
from ..support.text import NOTHING, percent
from .analysis import TOP, Curve, Findings, Placed, Ranks, curves, predicted_and_measured
from .config import ALGORITHMS
from .drawing import describe_cell, draw_cell
from .predictors import rank_correlation
from .session import Step

_SHOWN = 20
"""How many of the best cells are drawn."""
_COLOURS: dict[str, Colour] = dict(zip(ALGORITHMS, ("one", "two", "three"), strict=True))

PAPERS_RANKS: dict[str, tuple[tuple[float, float], ...]] = {
    "mlp": ((0.938, 0.113), (0.857, 0.450), (0.714, 0.469), (0.641, 0.444)),
    "lstm": ((0.970, 0.198), (0.996, 0.424), (0.693, 0.401), (0.787, 0.413)),
    "mlp-ensemble": ((0.975, 0.164), (0.786, 0.532), (0.634, 0.504), (0.645, 0.468)),
    "lstm-ensemble": ((0.972, 0.164), (0.906, 0.418), (0.801, 0.465), (0.579, 0.424)),
}
"""Rank correlations by number of blocks, (fitted, next), as quoted from Liu et al., 2018, table 1; the paper itself was
not at hand to check them against. Of random cells, 256 for each number of blocks, not of those that a search chose."""


def write_report(path: Path, findings: Findings, ranks: Sequence[Ranks], placed: Placed | None) -> None:
    """Write the report. Raises `OutputError`, and `MissingExtraError` without matplotlib or Jinja2."""
    made = environment()
    made.filters |= {"rank": rank_text}
    write_text(path, made.get_template("search_report.html").render(_values(findings, ranks, placed)))


def _values(findings: Findings, ranks: Sequence[Ranks], placed: Placed | None) -> dict[str, Any]:
    from markupsafe import Markup

    best = findings.best
    return {
        "version": __version__,
        "findings": findings,
        "config": findings.config,
        "best": best,
        "statuses": _count([child.status for child in findings.children.values()]),
        "seconds": sum(child.seconds for child in findings.children.values()),
        "machines": sorted({child.machine for child in findings.children.values()}),
        "searches": list(_searches(findings)),
        "compared": equal_models(findings),
        # Not escaped: our own, and no names in them.
        "progress": [Markup(svg) for svg in progress_charts(findings)],
        "scatters": [(title, Markup(svg)) for title, svg in _scatters(findings)],
        "ranks": [(each, papers_ranks(each)) for each in ranks],
        "cells": [(cell, child, Markup(draw_cell(cell)), describe_cell(cell)) for cell, child in best[:_SHOWN]],
        "placed": placed,
        "top": TOP,
        "pnasnet5": Markup(draw_cell(PNASNET5)) if placed else None,
    }


def _count(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def rank_text(value: float) -> str:
    """Return a rank correlation as it is printed; a dash where there is none."""
    return NOTHING if math.isnan(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def papers_ranks(ranks: Ranks) -> tuple[float, float] | None:
    """Return what the paper gives for the same predictor and number of blocks."""
    rows = PAPERS_RANKS.get(ranks.predictor, ())
    return rows[ranks.level - 1] if ranks.level <= len(rows) else None


def _searches(findings: Findings) -> Iterator[tuple[str, int, list[Step], float]]:
    """Yield algorithm, seed, steps, and the seconds that they took."""
    for algorithm, runs in findings.steps.items():
        for seed, steps in runs.items():
            yield algorithm, seed, steps, sum(step.child.seconds for step in steps)


def equal_models(findings: Findings) -> list[tuple[str, int, int, str, str]]:
    """Return algorithm, seeds, models, best and top-5 mean, each with its deviation: after as many models for all."""
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
        return NOTHING  # there are fewer models than it is the mean of
    return f"{percent(mean)} ± {percent(deviation)}" if curve.seeds > 1 else percent(mean)


# Charts.


def progress_charts(findings: Findings) -> Iterator[str]:
    """Yield the curves of the best and of the mean of the five best against models trained."""
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
    """Yield, of the first seed, a cloud of predicted and measured accuracies for each number of blocks."""
    _, steps = next(iter(findings.steps.get("progressive", {}).items()), (0, []))
    for level, pairs in predicted_and_measured(steps):
        rho = rank_correlation([p for p, _ in pairs], [m for _, m in pairs])
        title = f"{level} blocks: {len(pairs)} cells, rank correlation {rank_text(rho)}"
        chart = Chart([Line("cells", pairs, "one", "points")], "predicted", shares="both", up="measured")
        yield title, draw(chart, f"Predicted and measured accuracy of cells of {title}.", f"scatter-{level}")


# Comparing folders.


def comparison_file(
    named: Sequence[tuple[str, Findings]], tops: Sequence[int] = (1, TOP), algorithms: Sequence[str] = ALGORITHMS
) -> str:
    """Return an SVG file with the curves of several searches, one line for each folder and algorithm, at most three.

    Args:
        named: what the folders are called, and what is in them.
        tops: a picture for each, of the mean of so many best; one below the other.
        algorithms: those that are drawn.

    Raises:
        InputError: there are more lines than can be told apart, or none.
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
        raise InputError(f"no {top} models were trained yet: there is nothing to compare")
    if len(lines) > len(_COLOURS):
        raise InputError(
            f"{len(lines)} curves cannot be told apart in one picture: choose at most {len(_COLOURS)}, such as with "
            "--algorithm"
        )
    drawn = [
        Line(name, line.points, colour, "plain", line.band)
        for (name, line), colour in zip(lines, _COLOURS.values(), strict=False)
    ]
    what = "best accuracy" if top == 1 else f"mean of the {top} best"
    chart = Chart(drawn, "models trained", shares=True, up=what)
    return draw(chart, f"{what} against models trained", f"compare-{top}")
