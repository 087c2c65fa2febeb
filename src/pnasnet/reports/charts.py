"""Draws charts as SVG with matplotlib. The style sheet of the page sets the colours, for light and dark mode."""

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Colour = Literal["ink", "muted", "line", "one", "two", "three"]

# matplotlib does not support CSS variables, so these unusual colours are replaced by variables afterwards.
_COLOURS: dict[Colour, str] = {
    "ink": "#010201",
    "muted": "#010202",
    "line": "#010203",
    "one": "#010204",
    "two": "#010205",
    "three": "#010206",
}

_ON_WHITE: dict[Colour, str] = {
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d0d7de",
    "one": "#1f5fbf",
    "two": "#ad4e00",
    "three": "#2a7a3b",
}
"""The colours of `templates/page.css` in light mode."""

_SIZE = (5.0, 3.1)
"""Size in inches of 72 units. It is small, so that text of 11 units is readable on a phone."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays searchable and readable by screen readers
    "font.size": 11,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _COLOURS["muted"],
    "axes.labelcolor": _COLOURS["ink"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _COLOURS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": _COLOURS["muted"],
    "ytick.color": _COLOURS["muted"],
    "xtick.labelcolor": _COLOURS["ink"],
    "ytick.labelcolor": _COLOURS["ink"],
    "text.color": _COLOURS["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


def check_packages(extra: str = "train") -> None:
    """Raise `MissingExtraError`, which names `extra`, if matplotlib is missing. Call it before hours of work."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise MissingExtraError.of("matplotlib", extra, "the report") from error


@dataclass(frozen=True)
class Line:
    """A line or a set of points of a chart.

    Attributes:
        name: name in the legend.
        points: (x, y) of each point.
        colour: colour of line, markers and band.
        kind: `marked`: a line with markers; `plain`: a line without; `points`: markers only.
        band: (x, low, high) of a shaded band.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: Colour = "one"
    kind: Literal["marked", "plain", "points"] = "marked"
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Chart:
    """The content of a chart.

    Attributes:
        lines: at most three lines, which differ in colour, dashes and markers.
        across: label of the x axis.
        log: whether the x axis is logarithmic. Otherwise, its ticks are whole numbers.
        shares: whether y values, or with `both` also x values, are shares to show in percent.
        marked: name and x of a vertical line; None for none.
        level: name and y of a horizontal line; None for none.
        up: label of the y axis, if the legend does not explain it.
    """

    lines: Sequence[Line]
    across: str
    log: bool = False
    shares: bool | Literal["both"] = False
    marked: tuple[str, float] | None = None
    level: tuple[str, float] | None = None
    up: str = ""


def draw(chart: Chart, label: str, identity: str) -> str:
    """Return the chart as an `<svg>` element.

    Args:
        chart: the content.
        label: description for screen readers.
        identity: prefix of all ids in the element; unique within the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_packages()
    from matplotlib import style
    from matplotlib.figure import Figure

    # Without pyplot, a notebook's figures are not affected; "default" resets the user's matplotlibrc.
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=_SIZE, layout="constrained")
        _fill(figure.add_subplot(), chart)
        out = io.StringIO()
        figure.savefig(out, format="svg")
    return _for_page(out.getvalue(), label, identity)


def as_file(svg: str) -> str:
    """Return a result of `draw` as an SVG file with the colours of light mode on white."""
    for name, colour in _ON_WHITE.items():
        svg = svg.replace(f"var(--{name})", colour)
    head, rest = svg.split(">", 1)
    namespace = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"'
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return f"{head.replace('<svg', f'<svg {namespace}', 1)}>{paper}{rest}\n"


def stack(svgs: Sequence[str]) -> str:
    """Return several results of `draw` as one `<svg>` element, from top to bottom."""
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svgs[0])[0])
    placed = [
        svg.replace("<svg", f'<svg y="{place * height:g}" height="{height:g}"', 1) for place, svg in enumerate(svgs)
    ]
    return f'<svg viewBox="0 0 {width:g} {len(svgs) * height:g}" role="group">{"".join(placed)}</svg>'


def _fill(axes: "Axes", chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    percents = FuncFormatter(lambda value, _: f"{100 * value:.4g} %")
    for line, (dashes, mark) in zip(chart.lines, (("-", "o"), ("--", "s"), (":", "^")), strict=False):
        across, up = zip(*line.points, strict=True) if line.points else ((), ())
        style: dict[str, Any] = {
            "linestyle": "none" if line.kind == "points" else dashes,
            "marker": "none" if line.kind == "plain" else mark,
        }
        axes.plot(across, up, label=line.name, color=_COLOURS[line.colour], **style)
        if line.band:
            across, low, high = zip(*line.band, strict=True)
            axes.fill_between(across, low, high, color=_COLOURS[line.colour], alpha=0.15, linewidth=0)
    if chart.level:
        name, value = chart.level
        axes.axhline(value, label=name, color=_COLOURS["muted"], linestyle="-.", linewidth=1.2)
    if chart.marked:
        name, place = chart.marked
        axes.axvline(place, label=name, color=_COLOURS["ink"], linestyle=":", linewidth=1.5)
    if chart.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
    elif chart.shares == "both":
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(percents)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if chart.shares:
        axes.yaxis.set_major_formatter(percents)
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, handlelength=2.6)


def _for_page(svg: str, label: str, identity: str) -> str:
    """Return matplotlib's SVG file as an element with the page's width, colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box
    svg = re.sub(r"<svg[^>]*>", f'<svg {box[0]} role="img" aria-label="{escape(label)}">', svg, count=1)
    svg = svg.replace('xlink:href="', 'href="')
    numbers = itertools.count()
    renamed = {old: f"{identity}-{next(numbers)}" for old in re.findall(r'\bid="([^"]*)"', svg)}
    svg = re.sub(r'\bid="([^"]*)"', lambda found: f'id="{renamed[found[1]]}"', svg)
    svg = re.sub(r'(href="#|url\(#)([^")]*)', lambda found: found[1] + renamed[found[2]], svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.strip()
