"""Draws a cell as SVG like the papers: inputs at the bottom, output at the top, a pair of operations for each block.

Blocks are placed in layers, each above the states that it reads. If a state is read above the next layer, it has a lane
in every layer between, so that no line crosses a box.
"""

from dataclasses import dataclass, field
from html import escape

from ..architecture.cells import INPUTS, CellSpec
from ..reports.notebook import Drawing

_BOX, _HEIGHT, _GAP = 82.0, 26.0, 8.0
"""Width and height of an operation's box, and the gap between the two boxes of a block."""
_LANE, _SPACE, _LAYER = 12.0, 26.0, 128.0
"""Width of a lane, gap within a layer, and distance between layers."""
_SUM = 60.0
"""Distance from the foot of a block to the centre of its sum."""
_RADIUS, _MARGIN = 10.0, 12.0
_BLOCK = 2 * _BOX + _GAP

_LABELS = {
    "identity": "identity",
    "conv1x7_7x1": "1\N{MULTIPLICATION SIGN}7, 7\N{MULTIPLICATION SIGN}1",
    "conv1x3_3x1": "1\N{MULTIPLICATION SIGN}3, 3\N{MULTIPLICATION SIGN}1",
}
"""Labels of operations whose name is not a kind and a size."""
_COLOURS = {
    "sep": "#cfe0f7", "dil": "#dcd3f2", "con": "#dcd3f2", "max": "#f7dfc4", "avg": "#f3edc2", "ide": "#e7e9ec",
}  # fmt: skip
_INK, _LINE, _PAPER = "#1b1f24", "#57606a", "#ffffff"
_INPUT_NAMES = ("cell c\N{MINUS SIGN}1", "cell c\N{MINUS SIGN}2")


def draw_cell(cell: CellSpec) -> Drawing:
    """Return a drawing as an `<svg>` element, which is also a valid file.

    Its elements have CSS classes, so that a page can recolour them.
    """
    drawing = _CellDrawing(_layout(cell))
    for index, _ in enumerate(cell.blocks):
        drawing.block(cell, INPUTS + index)
    drawing.output(cell)
    for state in range(INPUTS):
        drawing.input(state)
    return Drawing(drawing.svg(describe_cell(cell)))


def describe_cell(cell: CellSpec) -> str:
    """Return a description of the cell for screen readers."""
    names = [*_INPUT_NAMES, *(f"block {index + 1}" for index in range(len(cell.blocks)))]
    blocks = [
        f"block {index + 1}: {_label(left)} of {names[a]} plus {_label(right)} of {names[b]}"
        for index, (left, a, right, b) in enumerate(cell.blocks)
    ]
    return f"{'; '.join(blocks)}; output: {', '.join(names[state] for state in cell.concat)}"


def _label(operation: str) -> str:
    if operation in _LABELS:
        return _LABELS[operation]
    kind, size = operation[:-1], operation[-1]
    return f"{kind} {size}\N{MULTIPLICATION SIGN}{size}"


# Layout.


@dataclass
class _Layout:
    """The positions of states.

    Attributes:
        layer: the layer of each state.
        place: the x of each state's centre, in each layer that it occupies or passes, by (state, layer).
        layers: number of layers, including that of the inputs.
        width: total width.
    """

    layer: dict[int, int]
    place: dict[tuple[int, int], float] = field(default_factory=dict)
    layers: int = 0
    width: float = 0.0


def _layout(cell: CellSpec) -> _Layout:
    layer = dict.fromkeys(range(INPUTS), 0)
    for index, (_, a, _, b) in enumerate(cell.blocks):
        layer[INPUTS + index] = 1 + max(layer[a], layer[b])
    layout = _Layout(layer, layers=1 + max(layer.values()))
    last_read = dict(layer)  # the highest layer in which a state needs a lane
    for index, (_, a, _, b) in enumerate(cell.blocks):
        for source in (a, b):
            last_read[source] = max(last_read[source], layer[INPUTS + index] - 1)
    last_read |= dict.fromkeys(cell.concat, layout.layers - 1)
    rows = [_row(cell, layout, last_read, number) for number in range(layout.layers)]
    layout.width = max(_width(layout, row, number) for number, row in enumerate(rows))
    for number, row in enumerate(rows):
        if number:
            row.sort(key=lambda state: _centre(cell, layout, state, number))
        x = (layout.width - _width(layout, row, number)) / 2
        for state in row:
            width = _thickness(layout, state, number)
            layout.place[state, number] = x + width / 2
            x += width + _SPACE
    return layout


def _row(cell: CellSpec, layout: _Layout, last_read: dict[int, int], number: int) -> list[int]:
    """Return the states in a layer or passing it. Of the inputs, the older is on the left."""
    states = [s for s in range(INPUTS + len(cell.blocks)) if layout.layer[s] <= number <= last_read[s]]
    return states if number else states[::-1]


def _thickness(layout: _Layout, state: int, number: int) -> float:
    if layout.layer[state] != number:
        return _LANE
    return _BLOCK if state >= INPUTS else _BOX


def _width(layout: _Layout, row: list[int], number: int) -> float:
    return sum(_thickness(layout, state, number) for state in row) + _SPACE * (len(row) - 1)


def _centre(cell: CellSpec, layout: _Layout, state: int, number: int) -> float:
    """Return the x below which a state reads: the lane below, or the middle of the block's inputs."""
    if layout.layer[state] != number:
        return layout.place[state, number - 1]
    _, a, _, b = cell.blocks[state - INPUTS]
    return (layout.place[a, number - 1] + layout.place[b, number - 1]) / 2


# Drawing.


class _CellDrawing:
    """An SVG drawing in the making: lines, and boxes on top of them. Heights are measured from the bottom."""

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self._lines, self._boxes = list[str](), list[str]()
        self._height = _LAYER * layout.layers + _HEIGHT + 10

    def _y(self, up: float) -> float:
        return self._height - up

    def _foot(self, number: int) -> float:
        return _LAYER * number

    def _head(self, state: int, number: int) -> float:
        """Return the height at which a state leaves a layer."""
        if self._layout.layer[state] != number:
            return self._foot(number) + _SUM + _RADIUS
        return self._foot(number) + (_SUM + _RADIUS if state >= INPUTS else _HEIGHT)

    def block(self, cell: CellSpec, state: int) -> None:
        """Draw a block: two operations, their sum, and the lines from their inputs."""
        left, a, right, b = cell.blocks[state - INPUTS]
        number = self._layout.layer[state]
        middle, foot = self._layout.place[state, number], self._foot(number)
        ends = sorted([(left, a), (right, b)], key=lambda end: self._layout.place[end[1], number - 1])
        for (operation, source), side in zip(ends, (-1, 1), strict=True):
            x = middle + side * (_BOX + _GAP) / 2
            self._line([*self._way(source, number - 1), (x, foot)], arrow=True)
            self._line([(x, foot + _HEIGHT), (middle, foot + _SUM - _RADIUS)])
            self._box(x, foot, _label(operation), operation[:3])
        self._sum(middle, foot + _SUM)

    def _way(self, state: int, until: int) -> list[tuple[float, float]]:
        """Return the points of a line from a state up to the head of a layer."""
        points = []
        for number in range(self._layout.layer[state], until + 1):
            x = self._layout.place[state, number]
            if number > self._layout.layer[state]:
                points.append((x, self._foot(number)))
            points.append((x, self._head(state, number)))
        return points

    def _line(self, points: list[tuple[float, float]], *, arrow: bool = False) -> None:
        (x, up), *rest = points
        path = [f"M{x:.1f} {self._y(up):.1f}"]
        for to_x, to_up in rest:
            half = (to_up - up) / 2
            below, above = self._y(up + half), self._y(to_up - half)
            path.append(f"C{x:.1f} {below:.1f} {to_x:.1f} {above:.1f} {to_x:.1f} {self._y(to_up):.1f}")
            x, up = to_x, to_up
        self._lines.append(f'<path class="cell-line" d="{" ".join(path)}" fill="none" stroke="{_LINE}"/>')
        if arrow:
            y = self._y(up)
            corners = f"M{x:.1f} {y:.1f}l-3.5 7h7z"
            self._lines.append(f'<path class="cell-arrow" d="{corners}" fill="{_LINE}"/>')

    def _box(self, x: float, up: float, text: str, kind: str, width: float = _BOX) -> None:
        top = self._y(up + _HEIGHT)
        colour = _COLOURS.get(kind, _PAPER)
        self._boxes.append(
            f'<rect class="cell-box cell-{kind}" x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{_HEIGHT}" rx="5" fill="{colour}" stroke="{_LINE}"/>'
            f'<text class="cell-text" x="{x:.1f}" y="{top + 17:.1f}" fill="{_INK}">{escape(text)}</text>'
        )

    def _sum(self, x: float, up: float) -> None:
        y = self._y(up)
        self._boxes.append(
            f'<circle class="cell-box" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" fill="{_PAPER}" stroke="{_LINE}"/>'
            f'<path class="cell-line" d="M{x - 5:.1f} {y:.1f}h10M{x:.1f} {y - 5:.1f}v10" stroke="{_LINE}"/>'
        )

    def output(self, cell: CellSpec) -> None:
        """Draw the concatenation and its incoming lines."""
        foot, last = self._foot(self._layout.layers), self._layout.layers - 1
        for state in cell.concat:
            way = self._way(state, last)
            self._line([*way, (way[-1][0], foot)], arrow=True)
        self._box(self._layout.width / 2, foot, "concatenate", "output", max(self._layout.width, _BOX))

    def input(self, state: int) -> None:
        """Draw an input, even if nothing reads it."""
        self._box(self._layout.place[state, 0], self._foot(0), _INPUT_NAMES[state], "input")

    def svg(self, label: str) -> str:
        """Return the SVG element."""
        left, width, height = -_MARGIN, self._layout.width + 2 * _MARGIN, self._height + 2 * _MARGIN
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left} {-_MARGIN} {width:.1f} {height:.1f}" '
            f'width="{width:.0f}" height="{height:.0f}" class="cell" role="img" aria-label="{escape(label)}" '
            'font-family="system-ui, sans-serif" font-size="12" text-anchor="middle" stroke-width="1.2">'
            f'<rect class="cell-paper" x="{left}" y="{-_MARGIN}" width="100%" height="100%" fill="{_PAPER}"/>'
            f"{''.join(self._lines)}{''.join(self._boxes)}</svg>\n"
        )
