"""Charts as SVG for a page in light or dark: drawn by matplotlib, coloured by the page's style sheet."""

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ..errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Colour = Literal["ink", "muted", "line", "one", "two", "three"]

# matplotlib knows no CSS variables: it is given colours that nobody would choose, which are replaced afterwards.
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
"""As in `templates/page.css`."""

_SIZE = (5.0, 3.1)
"""Inches of 72 units. Small, so that 11 units of text can still be read on a phone, where this fills the width."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
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


def check_packages() -> None:
    """Raise `MissingExtraError` if what draws is missing: before hours of work, not after."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise MissingExtraError.of("matplotlib", "train", "the report") from error


@dataclass(frozen=True)
class Line:
    """A line of a chart, or a cloud of points: a name for the legend, and its points.

    Attributes:
        name: for the legend.
        points: (across, up).
        colour: of all of it.
        kind: `marked`, a line with a mark at each point; `plain`, without; `points`, the marks alone.
        band: (across, low, high), shaded in the same colour.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: Colour = "one"
    kind: Literal["marked", "plain", "points"] = "marked"
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Chart:
    """What to draw.

    Attributes:
        lines: at most three, told apart by colour, dashes and marks alike.
        across: what the horizontal axis is.
        log: whether that axis is logarithmic; otherwise it counts in whole numbers.
        shares: whether the values are shares, to be shown in percent: `both` axes, or the vertical one.
        marked: the name and the horizontal place of what is marked.
        level: the name and the value of a horizontal line.
    """

    lines: Sequence[Line]
    across: str
    log: bool = False
    shares: bool | Literal["both"] = False
    marked: tuple[str, float] | None = None
    level: tuple[str, float] | None = None
    up: str = ""
    """What the vertical axis is, where the legend does not say it."""


def draw(chart: Chart, label: str, identity: str) -> str:
    """Return the chart as an `<svg>` element.

    Args:
        chart: what to draw.
        label: what a screen reader says in its place.
        identity: begins every id within, which must differ from those of the page's other charts.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_packages()
    from matplotlib import style
    from matplotlib.figure import Figure

    # A figure of its own leaves pyplot alone, and with it the windows of a notebook; "default" undoes what a
    # matplotlibrc may say.
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=_SIZE, layout="constrained")
        _fill(figure.add_subplot(), chart)
        out = io.StringIO()
        figure.savefig(out, format="svg")
    return _for_page(out.getvalue(), label, identity)


def as_file(svg: str) -> str:
    """Return what `draw` returned as a file of its own, on white, in the colours that a light page has."""
    for name, colour in _ON_WHITE.items():
        svg = svg.replace(f"var(--{name})", colour)
    head, rest = svg.split(">", 1)
    namespace = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"'
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return f"{head.replace('<svg', f'<svg {namespace}', 1)}>{paper}{rest}\n"


def stack(svgs: Sequence[str]) -> str:
    """Return several `<svg>` elements of `draw`, which are of one size, as one, each below the one before."""
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
    """Return matplotlib's SVG file as an element that fits its place and takes the page's colours and font."""
    from html import escape

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
