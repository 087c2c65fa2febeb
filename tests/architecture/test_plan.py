"""Plans compared with TF-Slim's variables and endpoints and with the papers' counts; networks without names."""

import json
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
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
    assert 88.9e6 <= sum(map(prod, resolve(find("nasnet_large").spec).variables().values())) < 89.0e6


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
def test_same_padding_puts_the_odd_pixel_at_the_end(
    size: int, kernel: int, stride: int, expected: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("size", [(331, 331), (224, 224), (97, 160), (40, 33)])
def test_other_sizes_keep_the_variables(size: tuple[int, int]) -> None:
    spec = find("pnasnet_mobile").spec
    assert resolve(resized(spec, size)).variables() == resolve(spec).variables()


@pytest.mark.parametrize(
    ("size", "has_one"), [((20, 20), True), ((17, 20), True), ((16, 20), False), ((20, 16), False)]
)
def test_the_auxiliary_head_needs_a_map_of_five_pixels(size: tuple[int, int], has_one: bool) -> None:
    """It reads a quarter of the image, rounded up: 17 pixels leave 5, 16 leave 4."""
    plan = resolve(NetworkSpec(PNASNET5, 6, 8, size, 10, stem="cifar", reductions=2, stem_stride=2))
    assert plan.cells[3].output[:2] == tuple(-(-length // 4) for length in size)
    assert (plan.aux is not None) == has_one
    if plan.aux:
        assert plan.aux.layers[1].output[:2] == (1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_cells": 1}, "1 cells cannot reduce 2 times: use at least as many cells"),
        ({"image_size": (0, 32)}, "image_size must be from 1 to 65,536 pixels, not 0x32"),
        ({"image_size": (2, 32)}, "images of 2x32 are too small"),
        ({"num_classes": 0}, "num_classes must be from 1 to 10,000,000, not 0"),
        ({"filters": 2}, "2 filters leave none in the stem; use more"),
        ({"stem": "other"}, "stem must be"),
        ({"stem_stride": 2}, "stem_stride=2 is for stem='cifar' alone"),
        ({"stem": "cifar", "stem_stride": 0}, "stem_stride must be from 1 to 1,000, not 0"),
        ({"drop_path_keep": 0.0}, r"drop_path_keep must be in \(0, 1\], not 0.0"),
        ({"skip_reduction_input": False}, "skip_reduction_input=False needs a reduction_cell"),
    ],
)
def test_an_impossible_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        resolve(replace(find("pnasnet_mobile").spec, **changes))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_survives_json(name: str) -> None:
    spec = find(name).spec
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_network_without_a_classifier_survives_json() -> None:
    spec = replace(NETWORKS["pnasnet_tiny"].spec, num_classes=None)
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "change", [{"depth": 3}, {"filters": "many"}, {"cell": None}, {"image_size": [3]}, {"num_cells": None}]
)
def test_other_json_is_refused_as_a_network(change: dict[str, object]) -> None:
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


# Values of the wrong kind, and sizes beyond reason.

SMALL = NetworkSpec(PNASNET5, 4, 8, (32, 32), 10, stem="cifar")


def test_numpys_numbers_become_pythons() -> None:
    """A network trained with them can be saved."""
    labels = np.array([0, 9])
    values: dict[str, Any] = {
        "num_cells": np.int64(4), "filters": np.uint16(8), "image_size": np.array([32, 32]), "stem": "cifar",
        "num_classes": labels.max() + 1, "reductions": np.int8(1), "epsilon": np.float32(0.5),
        "aux_head": np.bool_(False),
    }  # fmt: skip
    spec = NetworkSpec(PNASNET5, **values)
    same = replace(SMALL, epsilon=0.5, aux_head=False, reductions=1)
    assert spec == same
    assert json.dumps(spec.to_dict()) == json.dumps(same.to_dict())
    assert resolve(spec).variables() == resolve(same).variables()


@pytest.mark.parametrize("name", ["num_cells", "filters", "num_classes", "stem_stride", "reductions"])
@pytest.mark.parametrize("value", [2.0, "3", True, np.True_, np.float64(2), [2], 1e30, float("nan")])
def test_values_that_are_not_whole_numbers_are_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^{name} must be a whole number, not "):
        replace(SMALL, **{name: value})


@pytest.mark.parametrize("name", ["filter_scaling", "epsilon", "weight_decay", "drop_path_keep", "dropout_keep"])
@pytest.mark.parametrize("value", ["0.5", True, None, [0.5], float("nan"), float("inf"), -1])
def test_values_that_are_not_numbers_are_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^{name} must be "):
        replace(SMALL, **{name: value})


@pytest.mark.parametrize("value", [64, None, (64,), (64, 64, 3), "64", (64.0, 64), ("6", "4"), (True, 64)])
def test_image_size_is_height_and_width(value: Any) -> None:
    with pytest.raises(SpecError, match=r"^image_size must be "):
        replace(SMALL, image_size=value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aux_head": 1}, "aux_head must be True or False, not 1"),
        ({"skip_reduction_input": "no"}, "skip_reduction_input must be True or False, not 'no'"),
        ({"cell": "pnasnet"}, "cell and reduction_cell must be CellSpec"),
        ({"reduction_cell": {}}, "cell and reduction_cell must be CellSpec"),
        ({"num_cells": 100_000_000}, "num_cells must be from 1 to 1,000, not 100,000,000"),
        ({"filters": 10**30}, "filters must be from 1 to 100,000, not 1,000,"),
        ({"stem_multiplier": 1000.0, "filters": 101}, r"layers of 1.01e\+05 filters are too wide: the most is 100,000"),
        ({"filter_scaling": 1000.0}, r"layers of 8e\+06 filters are too wide"),
        ({"image_size": (2**16 + 1, 8)}, "image_size must be from 1 to 65,536 pixels"),
        ({"num_classes": 10**8}, "num_classes must be from 1 to 10,000,000"),
        ({"reductions": -1}, "reductions must be from 0 to 1,000, not -1"),
    ],
)
def test_absurd_values_are_refused_at_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        replace(SMALL, **changes)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_images_too_small_for_a_network_are_refused_with_the_size_it_needs(name: str) -> None:
    """Its variables are those of every other size down to the smallest one."""
    spec = find(name).spec
    with pytest.raises(
        SpecError, match=r"images of 1x1 are too small for this network: use at least (\d+)x\1$"
    ) as caught:
        resolve(resized(spec, (1, 1)))
    smallest = int(str(caught.value).rpartition("x")[2])
    assert resolve(resized(spec, (smallest, smallest))).variables() == resolve(spec).variables()
    for size in ((smallest - 1, smallest - 1), (smallest - 1, 64), (64, smallest - 1)):
        with pytest.raises(SpecError, match=f"are too small for this network: use at least {smallest}x{smallest}"):
            resolve(resized(spec, size))
