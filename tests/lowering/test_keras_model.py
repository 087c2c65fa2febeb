"""The Keras lowering, on its torch backend, against our own torch network."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.lowering.keras_model import Builder, PaddedPool
from pnasnet.lowering.torch_network import Network

from tests.helpers.golden_weights import EVERY_OPERATION, Floats, drawn

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own

ONE_OUTPUT = CellSpec.of([("max3", 1, "avg3", 0)])
"""A cell that concatenates nothing."""
ONLY_POOLS = CellSpec.of([("max3", 0, "max3", 1), ("avg3", 1, "avg3", 0)])


def built(plan: Plan, momentum: float = 0.99) -> tuple[keras.Model, Builder]:
    images, builder = keras.Input((*plan.spec.image_size, 3)), Builder(momentum)
    return keras.Model(images, builder.features(plan, images)), builder


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(EVERY_OPERATION, 4, 8, (15, 20), None, stem="cifar"),
        NetworkSpec(ONE_OUTPUT, 4, 8, (13, 10), None, stem="cifar"),
        NetworkSpec(ONLY_POOLS, 3, 8, (9, 12), None, stem="cifar"),
        NetworkSpec(PNASNET5, 3, 8, (65, 70), None),
        NetworkSpec(NASNET_A_NORMAL, 3, 8, (71, 80), None, NASNET_A_REDUCTION),
    ],
    ids=["every operation", "one output", "only pools", "PNASNet", "NASNet"],
)
def test_the_last_map_equals_torchs(spec: NetworkSpec) -> None:
    plan, values = resolve(spec), drawn(spec)
    batch: Floats = np.random.default_rng(0).random((2, *spec.image_size, 3), np.float32)
    network = Network(plan).eval()
    network.load_variables(values)
    last = plan.cells[-1].endpoint
    assert last is not None
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch), (last,))[last].relu().numpy()
    model, builder = built(plan)
    builder.load(values)
    found = model.predict(2 * batch - 1, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()))


def test_padding_is_never_the_largest_and_never_counted() -> None:
    negative = -np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    two = np.concatenate([negative, 2 * negative])
    largest = keras.ops.convert_to_numpy(PaddedPool("max", 3, 2, (1, 1, 1, 1))(two))[..., 0]
    np.testing.assert_array_equal(largest, [[[-1, -2], [-4, -5]], [[-2, -4], [-8, -10]]])
    mean = keras.ops.convert_to_numpy(PaddedPool("avg", 3, 2, (1, 1, 1, 1))(two))[..., 0]
    np.testing.assert_allclose(mean, [[[-3, -4], [-6, -7]], [[-6, -8], [-12, -14]]], rtol=1e-6)


def test_a_pool_states_its_shape_and_is_made_again_from_its_configuration() -> None:
    pool = PaddedPool("max", 3, 2, [0, 1, 1, 2], name="mine")
    assert pool.compute_output_shape((None, 7, 8, 5)) == (None, 3, 5, 5)
    again = PaddedPool.from_config(pool.get_config())
    assert (again.name, again.kind, again.kernel, again.stride, again.padding) == ("mine", "max", 3, 2, (0, 1, 1, 2))


def test_a_pool_of_images_of_unknown_size_states_an_unknown_shape() -> None:
    pool = PaddedPool("max", 3, 2, [0, 1, 1, 2])
    assert pool.compute_output_shape((None, None, 8, 5)) == (None, None, 5, 5)
    assert keras.Sequential([keras.Input((None, None, 5)), pool]).output_shape == (None, None, None, 5)


def test_training_drops_whole_paths_with_the_plans_probability() -> None:
    spec = NetworkSpec(PNASNET5, 3, 8, (16, 16), None, stem="cifar", drop_path_keep=0.6)
    plan = resolve(spec)
    model, _ = built(plan)
    drops = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    wanted = {
        f"{block.scope}/{side}/drop_path".replace("/", "-"): 1 - cell.keep_probability
        for cell in plan.cells
        for block in cell.blocks
        for side, branch in (("left", block.left), ("right", block.right))
        if branch.drop_path
    }
    assert {name: layer.rate for name, layer in drops.items()} == pytest.approx(wanted)
    assert {layer.noise_shape for layer in drops.values()} == {(None, 1, 1, 1)}
    without, _ = built(resolve(NetworkSpec(PNASNET5, 3, 8, (16, 16), None, stem="cifar")))
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in without.layers)


def test_statistics_move_by_the_momentum_and_the_networks_epsilon() -> None:
    plan = resolve(NetworkSpec(PNASNET5, 2, 8, (16, 16), None, stem="cifar", epsilon=0.25))
    model, _ = built(plan, momentum=0.75)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.75, 0.25)}


def test_equal_layers_without_weights_on_one_map_are_computed_once() -> None:
    """Two branches begin with a ReLU of the same state."""
    cell = CellSpec.of([("sep3", 0, "sep5", 0), ("max3", 0, "max3", 0)])
    plan = resolve(NetworkSpec(cell, 1, 8, (16, 16), None, stem="cifar", reductions=0))
    model, builder = built(plan)
    assert sum(isinstance(layer, PaddedPool) for layer in model.layers) == 1
    assert len(builder.variables) == len({names for _, names in builder.variables})
    assert {name for _, names in builder.variables for name in names} == set(plan.variables())
