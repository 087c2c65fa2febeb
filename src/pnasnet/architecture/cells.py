"""Convolutional cells as plain values; a network gives them width and image size.

States are numbered as TF-Slim numbers them: 0 is the cell's current input (the output of the cell before), 1 the
previous input (the output of the cell before that), 2 and up the outputs of the blocks in order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import index as as_index
from typing import Any

from ..errors import SpecError

OPERATIONS: Mapping[str, str] = {
    "identity": "identity (a 1x1 convolution if it halves the map or changes the width)",
    "sep3": "3x3 depthwise-separable convolution, applied twice",
    "sep5": "5x5 depthwise-separable convolution, applied twice",
    "sep7": "7x7 depthwise-separable convolution, applied twice",
    "conv1x7_7x1": "1x7 convolution followed by a 7x1 convolution",
    "avg3": "3x3 average pooling",
    "max3": "3x3 max pooling",
    "dil3": "3x3 convolution, dilated by 2",
    "conv1": "1x1 convolution",
    "conv3": "3x3 convolution",
    "conv1x3_3x1": "1x3 convolution followed by a 3x1 convolution",
    "max5": "5x5 max pooling",
    "max7": "7x7 max pooling",
}
"""Name and description of every operation: the thirteen of NASNet's search space (Zoph et al., 2018, section 3)."""

PNAS_OPERATIONS = tuple(OPERATIONS)[:8]
"""The eight operations of the PNAS search space (Liu et al., 2018, section 3.1)."""

Block = tuple[str, int, str, int]
"""(left operation, left input state, right operation, right input state). The two results are added."""

INPUTS = 2
"""States that exist before the first block: the current and the previous input."""

MAX_BLOCKS = 100
"""Limit of blocks in a cell."""


@dataclass(frozen=True)
class CellSpec:
    """A cell: blocks of two operations each, and the states whose concatenation is its output.

    Lists become tuples, and NumPy integers become Python's. Raises `SpecError` for unknown operations, for states that
    do not exist at that point, and for a block output that is never used.

    Example:
        >>> from pnasnet import CellSpec
        >>> cell = CellSpec(blocks=[("sep3", 0, "max3", 1), ("identity", 2, "sep5", 0)], concat=[3])
        >>> cell.blocks[1]
        ('identity', 2, 'sep5', 0)
        >>> cell.inputs_of_blocks(), CellSpec.from_dict(cell.to_dict()) == cell
        ({0, 1, 2}, True)
        >>> swapped = CellSpec.of([("max3", 1, "sep3", 0), ("identity", 2, "sep5", 0)])
        >>> swapped == cell, swapped.canonical() == cell.canonical()
        (False, True)
    """

    blocks: tuple[Block, ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "blocks", tuple(_block(i, block) for i, block in enumerate(_sequence("blocks", self.blocks)))
        )
        object.__setattr__(self, "concat", tuple(whole_number("concat", s) for s in _sequence("concat", self.concat)))
        if not self.blocks:
            raise SpecError("a cell needs at least one block")
        if len(self.blocks) > MAX_BLOCKS:
            raise SpecError(f"a cell has at most {MAX_BLOCKS} blocks, not {len(self.blocks):,}")
        states = range(INPUTS + len(self.blocks))
        if not self.concat or sorted(set(self.concat)) != list(self.concat):
            raise SpecError(f"concat must be ascending states, each once, not {self.concat}")
        if self.concat[-1] not in states or self.concat[0] < 0:
            raise SpecError(f"concat {self.concat} names a state outside 0..{states[-1]}")
        dead = set(states[INPUTS:]) - self.inputs_of_blocks() - set(self.concat)
        if dead:
            raise SpecError(f"block outputs {sorted(dead)} are neither used by a block nor concatenated")

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> "CellSpec":
        """Return the cell of `blocks` whose output concatenates every block output that no other block reads."""
        blocks = tuple(blocks)
        used = {state for block in blocks for state in (block[1], block[3])}
        return cls(blocks, tuple(s for s in range(INPUTS, INPUTS + len(blocks)) if s not in used))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "CellSpec":
        """Return the cell that `to_dict` described. Raises `SpecError`."""
        try:
            return cls(value["blocks"], value["concat"])
        except (KeyError, TypeError, IndexError) as error:
            raise SpecError(
                f"not a cell: {str(value)[:100]} needs 'blocks' (op, input, op, input) and 'concat'"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain lists, for JSON."""
        return {"blocks": [list(block) for block in self.blocks], "concat": list(self.concat)}

    def inputs_of_blocks(self) -> set[int]:
        """Return the states that at least one block reads."""
        return {state for block in self.blocks for state in (block[1], block[3])}

    def canonical(self) -> "CellSpec":
        """Return the representative of all cells that differ only in the order of sums and of blocks.

        Cells with equal canonical forms compute the same functions, except for the order of output channels.
        """
        return CellSpec(*_smallest_order(self, (), tuple(range(INPUTS)), frozenset(range(len(self.blocks)))))


def whole_number(name: str, value: Any) -> int:
    """Return `value` as an int if it is a whole number of any kind, NumPy's included. Raises `SpecError`.

    Neither 2.0 nor "2" nor True is one.
    """
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        try:
            return as_index(value)
        except TypeError:
            pass
    raise SpecError(f"{name} must be a whole number, not {value!r}")


def _sequence(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise SpecError(f"{name} must be a sequence, not {value!r}")
    return tuple(value)


def _block(index: int, block: Any) -> Block:
    """Return a checked block."""
    parts = _sequence(f"block {index}", block)
    if len(parts) != 4:
        raise SpecError(f"block {index} is {block!r}; it must be (operation, input, operation, input)")
    checked: list[Any] = []
    for operation, state in (parts[:2], parts[2:]):
        if not isinstance(operation, str) or operation not in OPERATIONS:
            raise SpecError(f"block {index} has unknown operation {operation!r}; known: {', '.join(OPERATIONS)}")
        state = whole_number(f"an input of block {index}", state)
        if not 0 <= state < INPUTS + index:
            raise SpecError(f"block {index} reads state {state}, but only 0..{INPUTS + index - 1} exist before it")
        checked += [str(operation), state]
    return tuple(checked)


def _smallest_order(
    cell: CellSpec, done: tuple[Block, ...], states: tuple[int, ...], left: frozenset[int]
) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    """Return the blocks and the concatenation of the lexicographically smallest cell that begins with `done`.

    Args:
        cell: the cell.
        done: the blocks ordered so far, with the new numbers of their states.
        states: the old number of each new state.
        left: the indices in `cell` of the other blocks. Only equal candidates branch, which keeps the search small.
    """
    if not left:
        return done, tuple(sorted(states.index(state) for state in cell.concat))
    ready = {}
    for index in left:
        op_a, a, op_b, b = cell.blocks[index]
        if a in states and b in states:
            (op_a, a), (op_b, b) = sorted([(op_a, states.index(a)), (op_b, states.index(b))])
            ready[index] = (op_a, a, op_b, b)
    first = min(ready.values())
    equal = [index for index, block in ready.items() if block == first]
    # The order of equal blocks that no block reads does not matter.
    ends = [index for index in equal if INPUTS + index not in cell.inputs_of_blocks()]
    return min(
        _smallest_order(cell, (*done, first), (*states, INPUTS + index), left - {index})
        for index in equal
        if index not in ends[1:]
    )


PNASNET5 = CellSpec(
    blocks=(
        ("sep5", 1, "max3", 1),
        ("sep7", 0, "max3", 0),
        ("sep5", 0, "sep3", 0),
        ("sep3", 4, "max3", 0),
        ("sep3", 1, "identity", 0),
    ),
    concat=(2, 3, 4, 5, 6),
)
"""PNASNet-5's cell, for stride 1 and 2 (TF-Slim `pnasnet.py`)."""

NASNET_A_NORMAL = CellSpec(
    blocks=(
        ("sep5", 0, "sep3", 1),
        ("sep5", 1, "sep3", 1),
        ("avg3", 0, "identity", 1),
        ("avg3", 1, "avg3", 1),
        ("sep3", 0, "identity", 0),
    ),
    concat=(1, 2, 3, 4, 5, 6),
)
"""NASNet-A's normal cell (TF-Slim `nasnet_utils.py`)."""

NASNET_A_REDUCTION = CellSpec(
    blocks=(
        ("sep5", 0, "sep7", 1),
        ("max3", 0, "sep7", 1),
        ("avg3", 0, "sep5", 1),
        ("identity", 3, "avg3", 2),
        ("sep3", 2, "max3", 0),
    ),
    concat=(3, 4, 5, 6),
)
"""NASNet-A's reduction cell (TF-Slim `nasnet_utils.py`)."""
