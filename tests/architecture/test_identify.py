"""Networks recognised by their variables alone."""

from dataclasses import replace

import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5
from pnasnet.architecture.identify import identify
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.architecture.zoo import NETWORKS
from pnasnet.errors import WeightsMismatchError


@pytest.mark.parametrize("name", list(NETWORKS))
def test_named_networks_are_recognised_with_any_number_of_classes(name: str) -> None:
    for classes in (1000, None):
        spec = replace(NETWORKS[name].spec, num_classes=classes)
        assert identify(resolve(spec).variables(), None, origin="here") == spec


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(PNASNET5, 3, 8, (64, 64), 5, stem_multiplier=1.0),
        NetworkSpec(PNASNET5, 6, 12, (48, 48), 5, stem="cifar", stem_multiplier=2.0, reductions=1, epsilon=1e-5),
        NetworkSpec(NASNET_A_NORMAL, 4, 8, (64, 64), None, NASNET_A_REDUCTION),
        NetworkSpec(NASNET_A_NORMAL, 4, 8, (64, 64), None, NASNET_A_REDUCTION, skip_reduction_input=False),
    ],
)
def test_networks_of_other_sizes_are_recognised(spec: NetworkSpec) -> None:
    variables = resolve(spec).variables() | {"global_step": (), "conv0/weights/RMSProp": (3,)}
    assert resolve(identify(variables, spec.image_size, origin="here")).cells == resolve(spec).cells


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (NetworkSpec(PNASNET5, 3, 100, (64, 64), 5), (331, 331)),
        (NetworkSpec(PNASNET5, 3, 99, (64, 64), 5), (224, 224)),
        (NetworkSpec(PNASNET5, 3, 100, (64, 64), 5, stem="cifar"), (32, 32)),
    ],
)
def test_weights_without_an_image_size_get_the_usual_one(spec: NetworkSpec, size: tuple[int, int]) -> None:
    found = identify(resolve(spec).variables(), None, origin="here")
    assert found.image_size == size
    assert (found.stem, found.reductions, found.num_cells, found.filters) == (spec.stem, 2, 3, spec.filters)


@pytest.mark.parametrize(
    "lacking", ["cell_0/1x1/weights", "conv0_bn/gamma", "cell_2/comb_iter_0/left/bn_sep_5x5_1/beta"]
)
def test_weights_that_lack_a_variable_are_no_network(lacking: str) -> None:
    variables = resolve(NetworkSpec(PNASNET5, 3, 8, (64, 64), 5, stem_multiplier=1.0)).variables()
    del variables[lacking]
    with pytest.raises(WeightsMismatchError, match="here holds no PNASNet-5"):
        identify(variables, None, origin="here")
    with pytest.raises(WeightsMismatchError, match="here holds no PNASNet-5"):
        identify({}, None, origin="here")


@pytest.mark.parametrize(
    "shapes",
    [
        {
            "conv0/weights": (3, 3, 3, 96),
            "cell_0/1x1/weights": (1, 1, 96, 8),
            "cell_1000000000/1x1/weights": (1, 1, 8, 8),
        },
        {"conv0/weights": (3, 3, 3, 96), "cell_0/1x1/weights": (1, 1, 96, 8), "cell_9999/1x1/weights": (1, 1, 8, 8)},
        {"conv0/weights": (3, 3, 3, 9), "cell_0/1x1/weights": (1, 1, 9, 3)},
        {"final_layer/FC/biases": ()},
        {"final_layer/FC/biases": (0,)},
    ],
)
def test_made_up_shapes_are_no_network(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(WeightsMismatchError, match="here holds no PNASNet-5"):
        identify(shapes, None, origin="here")
