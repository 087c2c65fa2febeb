"""timm's names and shapes, as `golden/timm_state_dicts.npz` has them: those of timm 1.0.19's two model classes."""

import json
import re

import numpy as np
import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.weights import check_weights
from pnasnet.weights.arrays import ArrayShape, LazyArrays
from pnasnet.weights.canonical import to_canonical
from pnasnet.weights.timm import looks_like_timm, slim_names, timm_names

from tests.helpers import golden_weights as golden

NASNET_LARGE = NetworkSpec(NASNET_A_NORMAL, 18, 168, (331, 331), 1000, NASNET_A_REDUCTION)


def state_dict(name: str) -> dict[str, ArrayShape]:
    stored = golden.load("timm_state_dicts")
    shapes = [tuple(json.loads(shape)) for shape in stored[f"{name}_shapes"].tolist()]
    return dict(zip(stored[name].tolist(), shapes, strict=True))


def zeros(shapes: dict[str, ArrayShape]) -> LazyArrays:
    return LazyArrays(shapes, lambda name: np.zeros(shapes[name], np.float32))


def test_pnasnet5large_maps_exactly_onto_tf_slims_variables() -> None:
    names = slim_names(state_dict("pnasnet5large"))
    assert set(names) == set(golden.load("pnasnet_large")["variables"].tolist())
    left = set(state_dict("pnasnet5large")) - set(names.values())
    assert {name.rpartition(".")[2] for name in left} == {"num_batches_tracked"}


def test_its_shapes_are_tf_slims_but_for_the_background_class() -> None:
    slim = golden.load("pnasnet_large")
    shapes = to_canonical(zeros(state_dict("pnasnet5large")), "x")[0].shapes
    for name, text in zip(slim["variables"].tolist(), slim["shapes"].tolist(), strict=True):
        expected = tuple(1000 if size == 1001 else size for size in json.loads(text))
        assert shapes[name] == expected, name


def test_nasnetalarge_maps_exactly_onto_the_names_that_nasnet_mobile_implies() -> None:
    mobile = golden.load("nasnet_mobile")["variables"].tolist()
    expected = set()
    for name in mobile:
        match = re.fullmatch(r"cell_(\d+)/(.*)", name)
        if not match:
            expected.add(name)
            continue
        group, place = divmod(int(match[1]), 4)  # of mobile's 3 groups of 4 cells; large has 3 of 6
        places = (3, 4, 5) if place == 3 else (place,)
        expected |= {f"cell_{group * 6 + place}/{match[2]}" for place in places}
    assert set(slim_names(state_dict("nasnetalarge"))) == expected


def test_nasnetalarge_fits_the_plan_name_by_name_and_shape_by_shape() -> None:
    arrays = to_canonical(zeros(state_dict("nasnetalarge")), "x")[0]
    expected = resolve(NASNET_LARGE).variables()
    assert set(check_weights(arrays.shapes, expected, origin="timm")) == set(expected)


@pytest.mark.parametrize("name", ["pnasnet5large", "nasnetalarge"])
def test_timms_names_are_found_from_tf_slims(name: str) -> None:
    """The whole state dict, but for counts of updates; variables that timm lacks are left out."""
    names = {old: new for new, old in slim_names(state_dict(name)).items()}
    variables = [*names.values(), "aux_11/aux_logits/FC/weights"]
    assert timm_names(variables, nasnet=name == "nasnetalarge") == names


@pytest.mark.parametrize(
    ("name", "leaf", "subscripts"),
    [
        ("conv_0.conv", "conv0/weights", "oihw->hwio"),
        ("cell_0.comb_iter_0_left.separable_1.depthwise_conv2d", "depthwise_weights", "oihw->hwoi"),
        ("cell_0.comb_iter_0_left.separable_1.pointwise_conv2d", "pointwise_weights", "oihw->hwio"),
        ("last_linear", "final_layer/FC/weights", "oi->io"),
        ("conv_0.bn", "conv0_bn/gamma", "c->c"),
    ],
)
def test_each_kernel_is_turned_into_tensorflows_layout(name: str, leaf: str, subscripts: str) -> None:
    shapes = state_dict("pnasnet5large")
    rng = np.random.default_rng(0)
    wanted = f"{name}.weight"
    value = rng.standard_normal(shapes[wanted]).astype(np.float32)
    arrays = to_canonical(
        LazyArrays(shapes, lambda asked: value if asked == wanted else np.zeros(shapes[asked], "f4")), "x"
    )[0]
    (slim,) = [new for new, old in slim_names(shapes).items() if old == wanted]
    assert slim.endswith(leaf)
    array = arrays[slim]
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, np.einsum(subscripts, value))


def test_names_unknown_to_timm_stay() -> None:
    shapes: dict[str, ArrayShape] = {
        "conv1.weight": (64, 3, 7, 7),
        "cell_0.conv_1x1.conv.scale": (1,),
        "cell_0.comb_iter_0_left.bn_sep_1.weight": (54,),  # without its depthwise kernel its name cannot be known
    }
    assert slim_names(shapes) == {name: name for name in shapes}
    assert not looks_like_timm(shapes)
    assert looks_like_timm(state_dict("nasnetalarge"))


def test_kernel_sizes_are_height_and_width() -> None:
    name = "cell_0.comb_iter_0_left.separable_1.depthwise_conv2d.weight"
    slim = "cell_0/comb_iter_0/left/separable_3x5_1/depthwise_weights"
    assert slim_names({name: (8, 1, 3, 5)}) == {slim: name}


def test_two_names_for_one_variable_both_stay_to_be_reported() -> None:
    shapes: dict[str, ArrayShape] = {"conv0.conv.weight": (96, 3, 3, 3), "conv_0.conv.weight": (96, 3, 3, 3)}
    assert slim_names(shapes) == {"conv0/weights": "conv0.conv.weight", "conv_0.conv.weight": "conv_0.conv.weight"}
