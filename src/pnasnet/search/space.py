"""The search space, and its cells as rows of small numbers: fast enough for hundreds of thousands at a time.

A *row* is a cell as the search builds it: one number for each block, in the order in which blocks were added. A block's
number says its two ends, each an operation on a state; the two are in order, since they are added. `tokens` turns rows
into what predictors read, `decode` into a `CellSpec`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.cells import INPUTS, OPERATIONS, PNAS_OPERATIONS, CellSpec
from ..errors import InputError, SpecError, UnknownNameError

Rows = NDArray[np.uint16]
"""Cells of equally many blocks: [N, blocks] uint16, a block's number each."""

Tokens = NDArray[np.uint8]
"""The same as the paper writes them: [N, blocks, 4] uint8; left and right input, left and right operation."""

MOST_BLOCKS = 10
_NONE = np.iinfo(np.uint16).max

OPERATION_SETS = {"pnas": PNAS_OPERATIONS, "nasnet": tuple(OPERATIONS)}
"""Sets of operations that have a name: PNAS's eight, NASNet's thirteen."""


@dataclass(frozen=True)
class SearchSpace:
    """All cells of up to `blocks` blocks whose output concatenates the blocks that no other block reads.

    Raises `InputError` and `UnknownNameError` where there is no such space.
    """

    operations: tuple[str, ...] = PNAS_OPERATIONS
    """Kept in alphabetical order, which is that of `CellSpec.canonical`."""
    blocks: int = 5

    def __post_init__(self) -> None:
        """Check names and numbers."""
        for name in self.operations:
            if name not in OPERATIONS:
                raise UnknownNameError.of("operation", name, list(OPERATIONS))
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise InputError(f"operations must be different names, at least one, not {', '.join(self.operations)!r}")
        if not 1 <= self.blocks <= MOST_BLOCKS:
            raise InputError(f"blocks must be from 1 to {MOST_BLOCKS}, not {self.blocks}")
        object.__setattr__(self, "operations", tuple(sorted(self.operations)))

    @property
    def num_states(self) -> int:
        """How many states the last block can read."""
        return INPUTS + self.blocks - 1

    # Tables. An end is operation * num_states + state.

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The lower and the higher end of each block number."""
        low, high = np.triu_indices(len(self.operations) * self.num_states)
        return low.astype(np.int16), high.astype(np.int16)

    @cached_property
    def _numbers(self) -> Rows:
        """The number of the block with two ends, in either order."""
        count = len(self.operations) * self.num_states
        table = np.empty((count, count), np.uint16)
        low, high = self._ends
        table[low, high] = table[high, low] = np.arange(len(low))
        return table

    def choices(self, index: int) -> Rows:
        """Return the numbers of all blocks that can stand at `index`, from 0, in a cell."""
        low, high = self._ends
        readable = INPUTS + index
        good = (low % self.num_states < readable) & (high % self.num_states < readable)
        return np.flatnonzero(good).astype(np.uint16)

    # Counting.

    def ends(self, index: int) -> int:
        """Return in how many ways one end of the block at `index` can be chosen."""
        return len(self.operations) * (INPUTS + index)

    def sequences(self, blocks: int) -> int:
        """Return how many sequences of so many blocks there are: 256 of one block, 5.6e14 of five, in PNAS's space."""
        return math.prod(self.ends(index) ** 2 for index in range(blocks))

    def unordered(self, blocks: int) -> int:
        """Return how many remain where the two ends of a block have no order: 136 of one block."""
        return math.prod(self.ends(index) * (self.ends(index) + 1) // 2 for index in range(blocks))

    # Making cells.

    def one_block(self) -> Rows:
        """Return all different cells of one block, [N, 1]."""
        return self.choices(0)[:, None]

    def expand(self, rows: Rows) -> Rows:
        """Return each cell with each possible block added, [N * choices, blocks + 1]; some compute the same."""
        blocks = self.choices(rows.shape[1])
        children = np.empty((len(rows), len(blocks), rows.shape[1] + 1), np.uint16)
        children[:, :, :-1] = rows[:, None]
        children[:, :, -1] = blocks
        return children.reshape(-1, rows.shape[1] + 1)

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Return cells of `blocks` blocks, [count, blocks], every sequence equally likely."""
        ends = [
            self._end(rng.integers(len(self.operations), size=(2, count)), rng.integers(INPUTS + i, size=(2, count)))
            for i in range(self.blocks)
        ]
        return np.stack([self._numbers[low, high] for low, high in ends], axis=1)

    def mutate(self, row: Rows, rng: np.random.Generator) -> Rows:
        """Return a cell, [blocks], with the operation or the input of one end of one block drawn anew.

        As in regularized evolution (Real et al., 2018), but without its mutation that changes nothing. A space of one
        operation has inputs only.
        """
        index, side = rng.integers(len(row)), rng.integers(2)
        ends = [int(table[row[index]]) for table in self._ends]
        operation: Any
        state: Any
        operation, state = divmod(ends[side], self.num_states)
        if rng.integers(2) and len(self.operations) > 1:
            operation = (operation + 1 + rng.integers(len(self.operations) - 1)) % len(self.operations)
        else:
            state = (state + 1 + rng.integers(INPUTS + index - 1)) % (INPUTS + index)
        ends[side] = int(self._end(operation, state))
        mutant = row.copy()
        mutant[index] = self._numbers[ends[0], ends[1]]
        return mutant

    def _end(self, operation: Any, state: Any) -> Any:
        return operation * self.num_states + state

    # Equal cells.

    def canonical(self, rows: Rows) -> Rows:
        """Return, for each cell, the one row that stands for all that compute the same: as `CellSpec.canonical`.

        Blocks are placed one after the other, each time the one with the smallest number in the states as numbered so
        far. Where two are equal, both ways are followed, and the smaller row is taken in the end.
        """
        count, blocks = rows.shape
        low, high = (table[rows] for table in self._ends)
        owner, done = np.arange(count), np.zeros_like(rows)
        places = np.full((count, INPUTS + blocks), -1, np.int16)  # the new number of each old state
        places[:, :INPUTS] = np.arange(INPUTS)
        left = np.ones((count, blocks), bool)
        for step in range(blocks):
            numbers = self._renumbered(low[owner], high[owner], places)
            numbers[~left] = _NONE
            smallest = numbers.min(axis=1)
            row, block = np.nonzero(numbers == smallest[:, None])
            owner, done, places, left = owner[row], done[row], places[row], left[row]
            each = np.arange(len(row))
            done[:, step] = smallest[row]
            places[each, INPUTS + block] = INPUTS + step
            left[each, block] = False
        if len(owner) > count:
            order = np.lexsort((*done.T[::-1], owner))
            done = done[order][np.unique(owner[order], return_index=True)[1]]
        return done

    def _renumbered(self, low: NDArray[np.int16], high: NDArray[np.int16], places: NDArray[np.int16]) -> Rows:
        """Return the blocks' numbers with other numbers of states; `_NONE` where an input has none yet."""
        ends = []
        for end in (low, high):
            operation, state = np.divmod(end, np.int16(self.num_states))
            place = np.take_along_axis(places, state, axis=1)
            ends.append(np.where(place < 0, np.int16(-1), operation * np.int16(self.num_states) + place))
        return np.where((ends[0] < 0) | (ends[1] < 0), np.uint16(_NONE), self._numbers[ends[0], ends[1]])

    def distinct(self, rows: Rows) -> NDArray[np.intp]:
        """Return the indices of the first of all cells that compute the same, in order."""
        canonical = self.canonical(rows)
        order = np.lexsort(canonical.T[::-1])  # stable: of equal cells the first comes first
        ordered = canonical[order]
        new = np.ones(len(rows), bool)
        new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        return np.sort(order[new])

    # Between rows, tokens and cells.

    def tokens(self, rows: Rows) -> Tokens:
        """Return the paper's sequence of each cell: left input, right input, left operation, right operation."""
        (left, left_input), (right, right_input) = (
            np.divmod(table.astype(np.uint8 if table.max() < 256 else np.int16)[rows], self.num_states)
            for table in self._ends
        )
        return np.stack([left_input, right_input, left, right], axis=-1).astype(np.uint8)

    def decode(self, row: Rows) -> CellSpec:
        """Return the cell of one row, [blocks]."""
        names = self.operations
        return CellSpec.of((names[c], int(a), names[d], int(b)) for a, b, c, d in self.tokens(row[None])[0])

    def encode(self, cell: CellSpec) -> Rows:
        """Return a cell as a row, [blocks], its blocks in their order.

        Raises `SpecError` if the cell is not in the space: another operation, too many blocks, another output.
        """
        if len(cell.blocks) > self.blocks:
            raise SpecError(f"the cell has {len(cell.blocks)} blocks, the space {self.blocks} at most")
        if cell != CellSpec.of(cell.blocks):
            raise SpecError(f"the cell concatenates {cell.concat}; in the space it is what no block reads")
        number = {name: index for index, name in enumerate(self.operations)}
        row = np.empty(len(cell.blocks), np.uint16)
        for index, (left, left_input, right, right_input) in enumerate(cell.blocks):
            for name in (left, right):
                if name not in number:
                    raise SpecError(f"the space has no operation {name!r}, but {', '.join(self.operations)}")
            ends = self._end(number[left], left_input), self._end(number[right], right_input)
            row[index] = self._numbers[ends]
        return row
