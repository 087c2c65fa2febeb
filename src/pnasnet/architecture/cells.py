"""Cells as values: what a convolutional cell computes, without any framework, width or size.

States are numbered as TF-Slim numbers them: 0 is the cell's current input (the output of the cell before), 1 the
previous input (the output of the cell before that), 2 and up the outputs of the blocks in order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SpecError

OPERATIONS: Mapping[str, str] = {
    "identity": "identity (a 1x1 convolution where it must reduce or change the width)",
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
"""All operations, by the names used here: the thirteen of NASNet's search space (Zoph et al., 2018, section 3)."""

PNAS_OPERATIONS = tuple(OPERATIONS)[:8]
"""The eight operations of the PNAS search space (Liu et al., 2018, section 3.1)."""

Block = tuple[str, int, str, int]
"""(left operation, left input state, right operation, right input state); the two results are added."""

INPUTS = 2
"""States that exist before the first block: the current and the previous input."""


@dataclass(frozen=True)
class CellSpec:
    """A cell: blocks of two operations each, and the states that are concatenated to its output.

    Raises `SpecError` where a block names an unknown operation or a state that does not exist yet, where a concatenated
    state does not exist, or where a block's output would be used by nothing.
    """

    blocks: tuple[Block, ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the cell; a value of this class is always a cell that can be built."""
        if not self.blocks:
            raise SpecError("a cell needs at least one block")
        for index, block in enumerate(self.blocks):
            _check_block(index, block)
        states = range(INPUTS + len(self.blocks))
        if not self.concat or sorted(set(self.concat)) != list(self.concat):
            raise SpecError(f"concat must be ascending states without repetition, not {self.concat}")
        if self.concat[-1] not in states or self.concat[0] < 0:
            raise SpecError(f"concat {self.concat} names a state outside 0..{states[-1]}")
        dead = set(states[INPUTS:]) - self.inputs_of_blocks() - set(self.concat)
        if dead:
            raise SpecError(f"block outputs {sorted(dead)} are neither used by a block nor concatenated")

    @classmethod
    def of(cls, blocks: Iterable[Block]) -> "CellSpec":
        """Return the cell of `blocks` whose output concatenates every block output that no other block uses."""
        blocks = tuple(blocks)
        used = {state for block in blocks for state in (block[1], block[3])}
        return cls(blocks, tuple(s for s in range(INPUTS, INPUTS + len(blocks)) if s not in used))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "CellSpec":
        """Rebuild a cell from `to_dict`'s value, as read from JSON."""
        try:
            blocks = tuple((str(a), int(i), str(b), int(j)) for a, i, b, j in value["blocks"])
            return cls(blocks, tuple(int(state) for state in value["concat"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(f"not a cell: {value!r} needs 'blocks' (op, input, op, input) and 'concat'") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as plain lists, fit for JSON."""
        return {"blocks": [list(block) for block in self.blocks], "concat": list(self.concat)}

    def inputs_of_blocks(self) -> set[int]:
        """Return the states that at least one block reads."""
        return {state for block in self.blocks for state in (block[1], block[3])}

    def canonical(self) -> "CellSpec":
        """Return the one representative of all cells that differ only by the order of sums and of blocks.

        Two cells with equal canonical forms compute the same functions (their outputs' channels may be permuted).
        """
        return CellSpec(*_smallest_order(self, (), tuple(range(INPUTS)), frozenset(range(len(self.blocks)))))


def _check_block(index: int, block: Block) -> None:
    if len(block) != 4:
        raise SpecError(f"block {index} is {block!r}; it must be (operation, input, operation, input)")
    for operation, state in (block[:2], block[2:]):
        if operation not in OPERATIONS:
            raise SpecError(f"block {index} has unknown operation {operation!r}; known: {', '.join(OPERATIONS)}")
        if not 0 <= state < INPUTS + index:
            raise SpecError(f"block {index} reads state {state}, but only 0..{INPUTS + index - 1} exist before it")


def _smallest_order(
    cell: CellSpec, done: tuple[Block, ...], states: tuple[int, ...], left: frozenset[int]
) -> tuple[tuple[Block, ...], tuple[int, ...]]:
    """Extend `done` by the blocks still `left`, in the order that gives the lexicographically smallest cell.

    `states[new]` is the old number of state `new`. Only equal candidates branch, so the search stays small.
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
    # Of those that no block reads it does not matter which comes first.
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
"""PNASNet-5's cell, used with stride 1 and 2 alike (TF-Slim `pnasnet.py`)."""

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
