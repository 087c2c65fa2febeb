"""Describes a configuration without training."""

from collections.abc import Iterator

from ..architecture.cells import CellSpec
from ..architecture.plan import resolve
from .config import SearchConfig, count_distinct


def describe(config: SearchConfig) -> Iterator[str]:
    """Yield lines of text about the space and its size, the children, and the searches with their budgets."""
    if config.notes:
        yield from (*config.notes.strip().splitlines(), "")
    yield from (*_space(config), "", *_child(config), "", *_searches(config))


def _space(config: SearchConfig) -> Iterator[str]:
    space = config.space
    yield f"space     {len(space.operations)} operations: {', '.join(space.operations)}"
    yield f"          {'blocks':>6}  {'sequences':>24}  {'unordered':>24}  {'distinct':>12}"
    for blocks in range(1, space.blocks + 1):
        distinct = count_distinct(space, blocks)
        different = "not counted" if distinct is None else f"{distinct:,}"
        sequences, unordered = _number(space.sequences(blocks)), _number(space.unordered(blocks))
        yield f"          {blocks:>6}  {sequences:>24}  {unordered:>24}  {different:>12}"


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"{count:,} ({count:.1e})" if count < 10**13 else f"{count:.3g}"


def _child(config: SearchConfig) -> Iterator[str]:
    child = config.child
    spec = child.recipe(CellSpec.of([("sep3", 0, "sep3", 1)]), 10).spec
    images = "all other images" if child.images is None else f"{child.images:,} images"
    yield (
        f"child     {child.num_cells} cells, {child.filters} filters, {child.image_size}x{child.image_size} pixels, "
        f"{child.epochs} epochs of {images}; {child.validation_images:,} validation images"
    )
    plan = resolve(spec)
    yield f"          of sep3 + sep3: {plan.parameters:,} parameters, {plan.mult_adds:,} mult-adds per image"


def _searches(config: SearchConfig) -> Iterator[str]:
    search = config.search
    hours = "" if search.hours is None else f", or {search.hours:g} hours of training"
    for algorithm in search.algorithms:
        yield f"{algorithm:<12} seeds {', '.join(map(str, search.seeds))}; {config.models:,} models each{hours}"
        if algorithm == "progressive":
            levels = " + ".join(f"{count:,}" for count in config.levels)
            yield f"{'':12} {levels} = {sum(config.levels):,} without a budget; chosen by {search.predictor}"
        if algorithm == "evolution":
            yield f"{'':12} population {search.population}; the best of {search.sample} is mutated"
    most = config.models * len(search.seeds) * len(search.algorithms)
    yield f"{'at most':<12} {most:,} children; a cell that several searches choose is trained once"
