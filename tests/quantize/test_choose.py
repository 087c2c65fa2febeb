"""Which parts stay in floating point."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.quantize import compare
from pnasnet.quantize.choose import choose, parts
from pnasnet.quantize.equalize import depthwise_nodes, equalized
from pnasnet.quantize.fidelity import cosines
from pnasnet.support.progress import silent

from tests.helpers.golden_weights import draw

COSTS = {"stem": 10, "cell_0": 100, "cell_1": 100, "head": 1}
HARM = {"stem": 0.01, "cell_0": 0.02, "cell_1": 0.04, "head": 0.0001}


def measured(floating: Collection[str]) -> float:
    return 1 - sum(harm for scope, harm in HARM.items() if scope not in floating)


def test_no_part_is_kept_if_all_of_int8_is_near_enough() -> None:
    steps = choose(COSTS, measured, 0.9, silent)
    assert [step.floating for step in steps] == [()]
    assert steps[0].int8_share == 1


def test_parts_are_kept_in_order_of_harm_for_each_multiply_add() -> None:
    steps = choose(COSTS, measured, 0.97, silent)
    assert [step.floating for step in steps] == [(), ("stem",), ("stem", "cell_1")]
    assert [round(step.cosine, 4) for step in steps] == [0.9299, 0.9399, 0.9799]
    assert steps[-1].int8_share == 1 - 110 / 211


def test_all_parts_are_kept_if_nothing_less_is_near_enough() -> None:
    steps = choose(COSTS, lambda floating: 0.5, 0.97, silent)
    assert set(steps[-1].floating) == set(COSTS)
    assert steps[-1].int8_share == 0


def test_parts_are_the_stem_the_cells_and_the_classifier() -> None:
    plan = resolve(find("pnasnet_tiny").spec)
    costs = parts(plan)
    assert list(costs) == ["l1_stem_3x3", "cell_0", "cell_1", "cell_2", "cell_3", "final_layer"]
    assert sum(costs.values()) == plan.mult_adds


def spread(ranges: NDArray[np.float32]) -> float:
    return float(ranges.max() / np.median(ranges))


def test_equalized_weights_compute_the_same() -> None:
    plan = resolve(find("pnasnet_tiny").spec)
    arrays = {name: np.abs(draw(name, shape)) for name, shape in plan.variables().items()}
    rng = np.random.default_rng(0)
    ranges: dict[str, NDArray[np.float32]] = {}
    for scope in depthwise_nodes(plan):
        channels = arrays[f"{scope}/depthwise_weights"].shape[2]
        ranges[scope] = np.exp(1.5 * rng.standard_normal(channels, np.float32))
        ranges[scope][0] = 0  # a channel that is always zero
    result = equalized(arrays, ranges)
    for scope in ranges:
        kernel, weights = f"{scope}/depthwise_weights", f"{scope}/pointwise_weights"
        product = np.einsum("hwcx,abco->hwco", arrays[kernel], arrays[weights])
        np.testing.assert_allclose(np.einsum("hwcx,abco->hwco", result[kernel], result[weights]), product, rtol=1e-5)
        scaled = ranges[scope] * np.abs(result[kernel] / arrays[kernel]).max((0, 1, 3))
        assert spread(scaled) < 0.9 * spread(ranges[scope])


def test_fidelity_counts_directions_and_classes() -> None:
    reference = np.array([[1, 0], [1, 0], [0, 0], [0, 0]], np.float32)
    features = np.array([[2, 0], [1, 1], [0, 0], [1, 0]], np.float32)
    np.testing.assert_allclose(cosines(features, reference), [1, 0.5**0.5, 1, 0])
    near = compare(features, reference, features, reference)
    assert (near.images, near.least_cosine, near.low_cosine) == (4, 0, 0)
    assert near.same_top1 == 1
    assert compare(features, reference, None, None).same_top1 is None
