"""The search space. Cells are encoded as rows of small numbers, so that hundreds of thousands are processed at a time.

A row has a number for each block, in the order in which the search added the blocks. The number stands for the block's
two ends without order, because they are summed. An end is an operation on a state. `tokens` converts
rows to what predictors read, `decode` to a `CellSpec`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.cells import INPUTS, OPERATIONS, PNAS_OPERATIONS, CellSpec
from ..errors import InputError, SpecError, UnknownNameError
from ..support.typed import convert_fields

EncodedCells = NDArray[np.uint16]
"""Cells with equal numbers of blocks: block numbers, uint16 [N, blocks]."""

Tokens = NDArray[np.uint8]
"""Cells in the paper's notation: left input, right input, left operation, right operation, uint8 [N, blocks, 4]."""

MAX_BLOCKS = 10
_NONE = np.iinfo(np.uint16).max

OPERATION_SETS = {"pnas": PNAS_OPERATIONS, "nasnet": tuple(OPERATIONS)}
"""Named sets of operations: the eight of PNAS, the thirteen of NASNet."""


@dataclass(frozen=True)
class SearchSpace:
    """All cells of up to `blocks` blocks whose output concatenates the blocks that no other block reads.

    Raises `InputError` for values of another type or out of range, and `UnknownNameError` for an unknown operation.
    """

    operations: tuple[str, ...] = PNAS_OPERATIONS
    """Sorted by name, as in `CellSpec.canonical`."""
    blocks: int = 5
    """Limit of the blocks of a cell."""

    def __post_init__(self) -> None:
        convert_fields(self)
        for name in self.operations:
            if name not in OPERATIONS:
                raise UnknownNameError.of("operation", name, list(OPERATIONS))
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise InputError("operations must be a list of different names: name at least one, and none twice")
        if not 1 <= self.blocks <= MAX_BLOCKS:
            raise InputError(f"blocks must be from 1 to {MAX_BLOCKS}, not {self.blocks}")
        object.__setattr__(self, "operations", tuple(sorted(self.operations)))

    @property
    def num_states(self) -> int:
        """Number of states that the last block can read."""
        return INPUTS + self.blocks - 1

    # Tables. An end is operation * num_states + state.

    @cached_property
    def _ends(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The smaller and the larger end for each block number."""
        low, high = np.triu_indices(len(self.operations) * self.num_states)
        return low.astype(np.int16), high.astype(np.int16)

    @cached_property
    def _numbers(self) -> EncodedCells:
        """The block number of each pair of ends, in either order."""
        count = len(self.operations) * self.num_states
        table = np.empty((count, count), np.uint16)
        low, high = self._ends
        table[low, high] = table[high, low] = np.arange(len(low))
        return table

    def choices(self, index: int) -> EncodedCells:
        """Return the numbers of all blocks that are possible at `index` (from 0) in a cell."""
        low, high = self._ends
        readable = INPUTS + index
        is_valid = (low % self.num_states < readable) & (high % self.num_states < readable)
        return np.flatnonzero(is_valid).astype(np.uint16)

    # Counting.

    def ends(self, index: int) -> int:
        """Return the number of possible ends of the block at `index`."""
        return len(self.operations) * (INPUTS + index)

    def sequences(self, blocks: int) -> int:
        """Return the number of sequences of `blocks` blocks: in the space of PNAS, 256 of one and 5.6e14 of five."""
        return math.prod(self.ends(index) ** 2 for index in range(blocks))

    def unordered(self, blocks: int) -> int:
        """Return the number of sequences if the two ends of a block have no order: 136 of one block."""
        return math.prod(self.ends(index) * (self.ends(index) + 1) // 2 for index in range(blocks))

    # Making cells.

    def one_block(self) -> EncodedCells:
        """Return all distinct cells of one block, [N, 1]."""
        return self.choices(0)[:, None]

    def expand(self, rows: EncodedCells) -> EncodedCells:
        """Return each cell with each possible block added, [N * choices, blocks + 1]; some are equivalent."""
        blocks = self.choices(rows.shape[1])
        children = np.empty((len(rows), len(blocks), rows.shape[1] + 1), np.uint16)
        children[:, :, :-1] = rows[:, None]
        children[:, :, -1] = blocks
        return children.reshape(-1, rows.shape[1] + 1)

    def sample(self, count: int, rng: np.random.Generator) -> EncodedCells:
        """Return random cells with all blocks, [count, blocks]; all sequences are equally likely."""
        ends = [
            self._end(rng.integers(len(self.operations), size=(2, count)), rng.integers(INPUTS + i, size=(2, count)))
            for i in range(self.blocks)
        ]
        return np.stack([self._numbers[low, high] for low, high in ends], axis=1)

    def mutate(self, row: EncodedCells, rng: np.random.Generator) -> EncodedCells:
        """Return a copy of a cell, [blocks], with one operation or one input replaced by a random other one.

        This is the mutation of Real et al., 2018, without identity. If the space has a single operation, an input is
        replaced.
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

    # Equivalent cells.

    def canonical(self, rows: EncodedCells) -> EncodedCells:
        """Return the canonical row of each cell, which all equivalent cells share, as by `CellSpec.canonical`.

        Blocks are placed one by one: among those whose inputs are placed, the one with the smallest number. After a
        tie, both orders are tried, and the smaller row is returned.
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

    def _renumbered(self, low: NDArray[np.int16], high: NDArray[np.int16], places: NDArray[np.int16]) -> EncodedCells:
        """Return the block numbers after renumbering the states; `_NONE` if an input is not placed yet."""
        ends = []
        for end in (low, high):
            operation, state = np.divmod(end, np.int16(self.num_states))
            place = np.take_along_axis(places, state, axis=1)
            ends.append(np.where(place < 0, np.int16(-1), operation * np.int16(self.num_states) + place))
        return np.where((ends[0] < 0) | (ends[1] < 0), np.uint16(_NONE), self._numbers[ends[0], ends[1]])

    def distinct(self, rows: EncodedCells) -> NDArray[np.intp]:
        """Return the indices, in order, of the first cell of each class of equivalent cells."""
        canonical = self.canonical(rows)
        order = np.lexsort(canonical.T[::-1])  # stable: the first of equivalent cells stays first
        ordered = canonical[order]
        new = np.ones(len(rows), bool)
        new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        return np.sort(order[new])

    # Conversions.

    def tokens(self, rows: EncodedCells) -> Tokens:
        """Return the cells in the paper's notation."""
        (left, left_input), (right, right_input) = (
            np.divmod(table.astype(np.uint8 if table.max() < 256 else np.int16)[rows], self.num_states)
            for table in self._ends
        )
        return np.stack([left_input, right_input, left, right], axis=-1).astype(np.uint8)

    def decode(self, row: EncodedCells) -> CellSpec:
        """Return one row, [blocks], as a cell."""
        names = self.operations
        return CellSpec.of((names[c], int(a), names[d], int(b)) for a, b, c, d in self.tokens(row[None])[0])

    def encode(self, cell: CellSpec) -> EncodedCells:
        """Return a cell as a row, [blocks], with its blocks in the same order.

        Raises `SpecError` if the cell is not in the space: an unknown operation, too many blocks, another output.
        """
        if len(cell.blocks) > self.blocks:
            raise SpecError(f"the cell has {len(cell.blocks)} blocks, but the space allows {self.blocks}")
        if cell != CellSpec.of(cell.blocks):
            raise SpecError(
                f"the cell concatenates {cell.concat}, but in this space a cell concatenates the blocks that none reads"
            )
        number = {name: index for index, name in enumerate(self.operations)}
        row = np.empty(len(cell.blocks), np.uint16)
        for index, (left, left_input, right, right_input) in enumerate(cell.blocks):
            for name in (left, right):
                if name not in number:
                    raise SpecError(f"operation {name!r} is not in the space: it has {', '.join(self.operations)}")
            ends = self._end(number[left], left_input), self._end(number[right], right_input)
            row[index] = self._numbers[ends]
        return row
