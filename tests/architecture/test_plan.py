"""The plan against TF-Slim's variables, endpoints and the papers' counts; and networks nobody named."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.layers import same_padding
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec, resized
from pnasnet.architecture.zoo import NETWORKS, find
from pnasnet.errors import SpecError

from tests.helpers.golden_weights import load

GOLDEN = ["pnasnet_large", "pnasnet_mobile", "nasnet_mobile", "nasnet_cifar"]


@pytest.mark.parametrize("name", GOLDEN)
def test_variables_are_tf_slims_in_its_order(name: str) -> None:
    golden, plan = load(name), resolve(find(name).spec)
    shapes = [tuple(json.loads(text)) for text in golden["shapes"].tolist()]
    assert list(plan.variables().items()) == list(zip(golden["variables"].tolist(), shapes, strict=True))
    assert list(plan.variables(training=True)) == golden["train/variables"].tolist()


@pytest.mark.parametrize("name", GOLDEN)
def test_endpoints_are_tf_slims(name: str) -> None:
    golden, endpoints = load(name), resolve(find(name).spec).endpoints()
    assert {key.split("/")[1] for key in golden if key.startswith("endpoint/")} == set(endpoints)
    for endpoint, shape in endpoints.items():
        if len(shape) == 3:
            assert tuple(golden[f"endpoint/{endpoint}/shape"].tolist())[1:] == tuple(shape)


@pytest.mark.parametrize(
    ("name", "parameters", "mult_adds"),
    [
        ("pnasnet_large", 86.1, 24_937),
        ("pnasnet_mobile", 5.1, 587),
        ("pnasnet_cifar", 3.2, 575),
        ("nasnet_large", 88.8, 23_783),
        ("nasnet_mobile", 5.3, 564),
        ("nasnet_cifar", 3.3, 544),
    ],
)
def test_counts_in_millions(name: str, parameters: float, mult_adds: int) -> None:
    plan = resolve(find(name).spec)
    assert round(plan.parameters / 1e6, 1) == parameters
    assert round(plan.mult_adds / 1e6) == mult_adds


@pytest.mark.parametrize(
    ("name", "published"),
    [("pnasnet_large", 25.0e9), ("pnasnet_mobile", 588e6), ("nasnet_large", 23.8e9), ("nasnet_mobile", 564e6)],
)
def test_mult_adds_meet_the_papers(name: str, published: float) -> None:
    assert resolve(find(name).spec).mult_adds == pytest.approx(published, rel=0.003)


def test_the_papers_889_millions_count_the_moving_statistics_of_nasnet_large() -> None:
    assert 88.9e6 <= resolve(find("nasnet_large").spec).stored_numbers < 89.0e6


def test_pnasnet_cifar_reduces_at_the_fourth_and_seventh_cell() -> None:
    plan = resolve(find("pnasnet_cifar").spec)
    assert plan.spec.reduction_indices == (3, 6)
    assert [cell.output.height for cell in plan.cells] == [32] * 3 + [16] * 3 + [8] * 3


def test_keep_probability_falls_with_depth_to_the_final_rate() -> None:
    plan = resolve(find("pnasnet_large").spec)
    assert plan.cells[0].keep_probability == pytest.approx(1 - 1 / 14 * 0.4)
    assert plan.cells[-1].keep_probability == pytest.approx(0.6)


def test_identity_paths_are_never_dropped() -> None:
    cell = resolve(find("pnasnet_large").spec).cells[-1]
    assert [b.drop_path for block in cell.blocks for b in (block.left, block.right)] == [True] * 9 + [False]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(32, 3, 2, (0, 1)), (33, 3, 2, (1, 1)), (32, 5, 2, (1, 2)), (32, 3, 1, (1, 1)), (1, 7, 2, (3, 3))],
)
def test_same_padding_puts_the_odd_one_at_the_end(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("size", [(331, 331), (224, 224), (97, 160), (40, 33)])
def test_other_sizes_keep_the_variables(size: tuple[int, int]) -> None:
    spec = find("pnasnet_mobile").spec
    assert resolve(resized(spec, size)).variables() == resolve(spec).variables()


def test_the_auxiliary_head_needs_a_map_of_five_pixels() -> None:
    spec = find("pnasnet_mobile").spec
    assert resolve(spec).aux is not None
    assert resolve(resized(spec, (64, 64))).aux is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_cells": 1}, "cannot reduce 2 times"),
        ({"image_size": (0, 32)}, "must be positive"),
        ({"image_size": (2, 32)}, "use larger images"),
        ({"num_classes": 0}, "num_classes"),
        ({"filters": 2}, "give more"),
        ({"stem": "other"}, "stem must be"),
        ({"stem_stride": 2}, "is for stem='cifar' alone"),
        ({"stem": "cifar", "stem_stride": 0}, "must be at least 1"),
        ({"drop_path_keep": 0.0}, "drop_path_keep"),
        ({"skip_reduction_input": False}, "needs a reduction_cell"),
    ],
)
def test_an_impossible_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        resolve(replace(find("pnasnet_mobile").spec, **changes))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_survives_json(name: str) -> None:
    spec = find(name).spec
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "change", [{"depth": 3}, {"filters": "many"}, {"cell": None}, {"image_size": [3]}, {"num_cells": None}]
)
def test_other_json_is_no_network(change: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        NetworkSpec.from_dict({**find("pnasnet_tiny").spec.to_dict(), **change})


def test_every_operation_keeps_the_shape_it_should() -> None:
    cell = CellSpec.of([("conv1x7_7x1", 0, "dil3", 1), ("avg3", 0, "identity", 2), ("sep7", 1, "max3", 0)])
    for reduction in (None, cell):
        plan = resolve(NetworkSpec(cell, 3, 8, (33, 40), 7, reduction, "cifar"))
        assert plan.cells[-1].output == (9, 10, 2 * 32)


def test_a_stem_of_stride_2_halves_the_map_and_keeps_the_weights() -> None:
    spec = NetworkSpec(PNASNET5, 4, 8, (32, 32), 10, stem="cifar")
    plan, halved = resolve(spec), resolve(replace(spec, stem_stride=2))
    assert plan.endpoints()["Stem"] == (32, 32, 24)
    assert halved.endpoints()["Stem"] == (16, 16, 24)
    assert halved.endpoints()["Cell_3"] == (4, 4, 5 * 32)
    assert halved.variables() == plan.variables()
    assert halved.mult_adds < plan.mult_adds / 3.9


def test_nasnet_looks_back_over_or_at_the_reduction() -> None:
    spec = NetworkSpec(NASNET_A_NORMAL, 4, 8, (32, 32), 7, NASNET_A_REDUCTION, "cifar")
    after = [cell.scope for cell in resolve(spec).cells].index("reduction_cell_0") + 1
    assert resolve(spec).cells[after].lookback == 3
    assert resolve(replace(spec, skip_reduction_input=False)).cells[after].lookback == 2


def test_a_pnasnet_of_any_depth_resolves() -> None:
    for cells in range(2, 8):
        assert resolve(NetworkSpec(PNASNET5, cells, 4, (32, 32), None, stem="cifar")).classifier is None
