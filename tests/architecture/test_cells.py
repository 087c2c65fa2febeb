"""Cells as values: validation, canonical form, and the way through JSON."""

import itertools
import json
from typing import Any

import numpy as np
import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNAS_OPERATIONS, PNASNET5, CellSpec
from pnasnet.errors import SpecError

NAMED = [PNASNET5, NASNET_A_NORMAL, NASNET_A_REDUCTION]


@pytest.mark.parametrize(
    ("blocks", "concat", "message"),
    [
        ((), (2,), "at least one block"),
        ((("sep9", 0, "max3", 0),), (2,), "unknown operation 'sep9'"),
        ((("sep3", 2, "max3", 0),), (2,), "reads state 2, but only 0..1"),
        ((("sep3", -1, "max3", 0),), (2,), "reads state -1"),
        ((("sep3", 0, "max3"),), (2,), r"block 0 is \('sep3', 0, 'max3'\); it must be"),
        ((("sep3", 0, "max3", 0),), (), r"concat must be ascending states, each once, not \(\)"),
        ((("sep3", 0, "max3", 0),), (2, 2), "each once"),
        ((("sep3", 0, "max3", 0),), (3,), "outside 0..2"),
        ((("sep3", 0, "max3", 0), ("sep3", 0, "max3", 0)), (3,), r"\[2\] are neither used"),
    ],
)
def test_an_impossible_cell_is_refused(blocks: tuple[object, ...], concat: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CellSpec(blocks, concat)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", NAMED)
def test_a_cell_survives_json(cell: CellSpec) -> None:
    assert CellSpec.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "not a cell: {} needs 'blocks'"),
        ([], r"not a cell: \[\] needs 'blocks'"),
        (None, "not a cell: None needs 'blocks'"),
        ({"blocks": [["sep3", 0, "max3", 0]]}, "not a cell: .* needs 'blocks' .* and 'concat'"),
        ({"blocks": 3, "concat": []}, "blocks must be a sequence, not 3"),
        ({"blocks": "sep3", "concat": []}, "blocks must be a sequence, not 'sep3'"),
        ({"blocks": [7], "concat": [2]}, "block 0 must be a sequence, not 7"),
        ({"blocks": [[1, 2]], "concat": [2]}, r"block 0 is \[1, 2\]; it must be"),
        ({"blocks": [[3, 0, "max3", 0]], "concat": [2]}, "unknown operation 3"),
        ({"blocks": [["sep3", 0.0, "max3", 0]], "concat": [2]}, "an input of block 0 must be a whole number, not 0.0"),
        (
            {"blocks": [["sep3", True, "max3", 0]], "concat": [2]},
            "an input of block 0 must be a whole number, not True",
        ),
        ({"blocks": [["sep3", 0, "max3", 0]], "concat": ["2"]}, "concat must be a whole number, not '2'"),
    ],
)
def test_other_json_is_refused_as_a_cell(value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CellSpec.from_dict(value)


def test_lists_and_numpy_integers_make_the_same_cell() -> None:
    states = np.arange(4)
    cell = CellSpec([["sep3", states[1], "max3", states[0]], ["dil3", states[2], "avg3", np.uint8(1)]], states[3:])  # type: ignore[arg-type]
    assert cell == CellSpec((("sep3", 1, "max3", 0), ("dil3", 2, "avg3", 1)), (3,))
    assert json.loads(json.dumps(cell.to_dict())) == cell.to_dict()
    assert hash(cell) == hash(CellSpec.from_dict(cell.to_dict()))


def test_number_of_blocks_is_bounded() -> None:
    assert len(CellSpec.of([("sep3", 0, "max3", 0)] * 100).blocks) == 100
    with pytest.raises(SpecError, match="at most 100 blocks, not 101"):
        CellSpec.of([("sep3", 0, "max3", 0)] * 101)


def test_unused_block_outputs_are_concatenated() -> None:
    assert CellSpec.of([("sep3", 0, "max3", 1), ("identity", 2, "avg3", 0), ("sep5", 0, "sep5", 1)]).concat == (3, 4)


def test_256_one_block_cells_of_which_136_differ() -> None:
    ends = list(itertools.product(PNAS_OPERATIONS, range(2)))
    cells = [CellSpec.of([(*left, *right)]) for left, right in itertools.product(ends, repeat=2)]
    assert len(cells) == 256
    assert len({cell.canonical() for cell in cells}) == 136


@pytest.mark.parametrize("cell", NAMED)
def test_the_order_of_independent_blocks_does_not_matter(cell: CellSpec) -> None:
    canonical = cell.canonical()
    assert canonical.canonical() == canonical
    for order in itertools.permutations(range(len(cell.blocks))):
        moved = _reordered(cell, order)
        assert moved is None or moved.canonical() == canonical


def _reordered(cell: CellSpec, order: tuple[int, ...]) -> CellSpec | None:
    """Return the cell with its blocks in another order and their sums turned round; None if an input comes too late."""
    new = {0: 0, 1: 1, **{2 + old: 2 + place for place, old in enumerate(order)}}
    blocks = [(op_b, new[b], op_a, new[a]) for op_a, a, op_b, b in (cell.blocks[old] for old in order)]
    if any(max(a, b) >= 2 + place for place, (_, a, _, b) in enumerate(blocks)):
        return None
    return CellSpec(tuple(blocks), tuple(sorted(new[state] for state in cell.concat)))


def test_equal_blocks_with_different_readers_have_one_canonical_form() -> None:
    twin = ("sep3", 0, "sep3", 0)
    first = CellSpec((twin, twin, ("max3", 2, "identity", 2)), (3, 4))
    second = CellSpec((twin, twin, ("max3", 3, "identity", 3)), (2, 4))
    assert first.canonical() == second.canonical()


def test_many_blocks_that_are_alike_are_ordered_at_once() -> None:
    """As many orders as there are would take minutes."""
    cell = CellSpec.of([("sep3", 0, "max3", 1)] * 12)
    assert cell.canonical() == CellSpec.of([("max3", 1, "sep3", 0)] * 12)
