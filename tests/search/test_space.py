"""The search space: its counts, equal cells, and the way between rows, tokens and cells."""

import itertools

import numpy as np
import pytest

from pnasnet.architecture.cells import PNASNET5, CellSpec
from pnasnet.errors import InputError, SpecError, UnknownNameError
from pnasnet.search.space import OPERATION_SETS, SearchSpace

PNAS = SearchSpace()
SMALL = SearchSpace(("sep3", "max3"), 4)
TWINS = [("sep3", 0, "sep3", 0)] * 2


def test_the_papers_counts() -> None:
    assert PNAS.sequences(1) == 256
    assert len(PNAS.one_block()) == PNAS.unordered(1) == 136
    assert PNAS.sequences(5) == 256 * 576 * 1024 * 1600 * 2304 == 556_627_761_561_600
    assert PNAS.unordered(5) == 136 * 300 * 528 * 820 * 1176
    assert [len(PNAS.choices(index)) for index in range(5)] == [136, 300, 528, 820, 1176]


def test_one_block_cells_are_all_and_differ() -> None:
    ends = list(itertools.product(PNAS.operations, range(2)))
    everything = {CellSpec.of([(*left, *right)]).canonical() for left, right in itertools.product(ends, repeat=2)}
    assert {PNAS.decode(row) for row in PNAS.one_block()} == everything


def test_two_block_cells_against_brute_force() -> None:
    rows = SMALL.expand(SMALL.one_block())
    assert len(rows) == SMALL.unordered(2) == 10 * 21
    cells = [SMALL.decode(row) for row in rows]
    assert [SMALL.decode(row) for row in SMALL.canonical(rows)] == [cell.canonical() for cell in cells]
    assert len(SMALL.distinct(rows)) == len({cell.canonical() for cell in cells}) < len(cells)


@pytest.mark.parametrize("space", [SMALL, PNAS, SearchSpace(OPERATION_SETS["nasnet"], 6)])
def test_canonical_form_is_that_of_cells(space: SearchSpace) -> None:
    rows = space.sample(300, np.random.default_rng(0))
    canonical = space.canonical(rows)
    assert [space.decode(row) for row in canonical] == [space.decode(row).canonical() for row in rows]
    assert (space.canonical(canonical) == canonical).all()


def test_equal_blocks_with_different_readers() -> None:
    """Labelling blocks by their inputs and readers alone would merge the first two."""
    apart = CellSpec.of([*TWINS, ("max3", 2, "max3", 2), ("max3", 3, "max3", 3)])
    across = CellSpec.of([*TWINS, ("max3", 2, "max3", 3), ("max3", 2, "max3", 3)])
    swapped = CellSpec.of([*TWINS, ("max3", 3, "max3", 3), ("max3", 2, "max3", 2)])
    rows = np.stack([SMALL.encode(cell) for cell in (apart, across, swapped, apart)])
    assert SMALL.distinct(rows).tolist() == [0, 1]


def test_expansion_keeps_the_parent_first() -> None:
    parents = PNAS.sample(3, np.random.default_rng(1))[:, :4]
    children = PNAS.expand(parents)
    assert children.shape == (3 * 1176, 5)
    assert (children.reshape(3, 1176, 5)[:, :, :4] == parents[:, None]).all()
    assert len({row.tobytes() for row in children}) == len(children)


def test_tokens_are_inputs_then_operations() -> None:
    space = SearchSpace(("max3", "sep3"), 2)
    row = space.encode(CellSpec.of([("sep3", 1, "max3", 0), ("max3", 2, "max3", 1)]))
    assert space.tokens(row[None])[0].tolist() == [[0, 1, 0, 1], [1, 2, 0, 0]]


def test_cells_survive_encoding_up_to_the_order_of_sums() -> None:
    cell = CellSpec.of(PNASNET5.blocks)
    assert PNAS.decode(PNAS.encode(cell)).canonical() == cell.canonical()
    rows = PNAS.sample(100, np.random.default_rng(2))
    assert all((PNAS.encode(PNAS.decode(row)) == row).all() for row in rows)


def test_samples_depend_on_the_seed_and_cover_the_space() -> None:
    rows = [SMALL.sample(400, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2]).any()
    for index in range(SMALL.blocks):
        assert set(rows[0][:, index]) <= set(SMALL.choices(index))
    assert set(rows[0][:, 0]) == set(SMALL.choices(0))


def test_every_sequence_is_drawn_equally_often() -> None:
    """Of a block whose ends differ there are two sequences, of one whose ends are equal there is one."""
    space, count = SearchSpace(("sep3", "max3"), 2), 40_000
    rows = space.sample(count, np.random.default_rng(7))
    for index in range(space.blocks):
        ends = space.ends(index)
        tokens = space.tokens(rows)[:, index]
        equal = (tokens[:, 0] == tokens[:, 1]) & (tokens[:, 2] == tokens[:, 3])
        numbers, drawn = np.unique(rows[:, index], return_counts=True)
        assert numbers.tolist() == space.choices(index).tolist()
        same = {int(row) for row in rows[equal, index]}
        for number, times in zip(numbers, drawn, strict=True):
            share = (1 if int(number) in same else 2) / ends**2
            assert abs(times - count * share) < 5 * (count * share * (1 - share)) ** 0.5


def test_a_space_of_one_operation_changes_inputs_alone() -> None:
    space, rng = SearchSpace(("sep3",), 3), np.random.default_rng(8)
    assert (len(space.one_block()), space.sequences(3)) == (3, 4 * 9 * 16)
    for row in space.sample(50, rng):
        mutant = space.mutate(row, rng)
        assert (mutant != row).sum() == 1
        assert (space.tokens(mutant[None])[..., 2:] == 0).all()
        assert space.encode(space.decode(mutant)).tolist() == mutant.tolist()


def test_a_mutation_changes_one_end_and_stays_in_the_space() -> None:
    rng, row = np.random.default_rng(5), SMALL.sample(1, np.random.default_rng(6))[0]
    for _ in range(300):
        mutant = SMALL.mutate(row, rng)
        changed = np.flatnonzero(mutant != row)
        assert len(changed) == 1
        assert mutant[changed[0]] in SMALL.choices(int(changed[0]))
        before, after = (SMALL.tokens(each[None])[0, changed[0]] for each in (row, mutant))
        ends = [{(int(t[2]), int(t[0])), (int(t[3]), int(t[1]))} for t in (before, after)]
        assert ends[0] & ends[1] or len(ends[0]) == 1
        row = mutant


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (PNASNET5, r"concatenates \(2, 3, 4, 5, 6\)"),
        (CellSpec.of([("dil3", 0, "sep3", 1)]), "operation 'dil3' is not in the space: it has max3, sep3"),
        (CellSpec.of([("sep3", 0, "sep3", 0)] * 6), "has 6 blocks, but the space allows"),
    ],
)
def test_cells_of_other_spaces_are_refused(cell: CellSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        (PNAS if cell is PNASNET5 else SMALL).encode(cell)


def test_invalid_spaces() -> None:
    with pytest.raises(UnknownNameError, match="unknown operation 'sep9': did you mean sep"):
        SearchSpace(("sep9",))
    for operations, blocks in (((), 2), (("sep3", "sep3"), 2), (("sep3",), 0), (("sep3",), 11)):
        with pytest.raises(InputError, match=r"(operations|blocks) must be"):
            SearchSpace(operations, blocks)
