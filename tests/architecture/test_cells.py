"""Cells as values: validation, canonical form, and the way through JSON."""

import itertools
import json

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
        ((("sep3", 0, "max3"),), (2,), "must be"),
        ((("sep3", 0, "max3", 0),), (), "concat"),
        ((("sep3", 0, "max3", 0),), (2, 2), "without repetition"),
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


@pytest.mark.parametrize("value", [{}, {"blocks": 3, "concat": []}, {"blocks": [[1, 2]], "concat": [2]}])
def test_other_json_is_no_cell(value: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="not a cell"):
        CellSpec.from_dict(value)


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
