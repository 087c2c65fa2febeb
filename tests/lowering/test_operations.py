"""Every operation against plain NumPy: torch and ONNX follow one plan, so comparing them cannot find its mistakes."""

from typing import Any

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray

from pnasnet.architecture.cells import OPERATIONS, CellSpec
from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.lowering.onnx_graph import build
from pnasnet.lowering.torch_network import Network

from tests.helpers import plain_numpy
from tests.helpers.golden_weights import Floats, draw

SIZES = [(9, 12), (12, 9), (8, 8), (3, 2)]
FILTERS = 6
Maps = dict[str, NDArray[Any]]


def plan_of(operation: str, size: tuple[int, int], *, reduces: bool) -> Plan:
    """Return a network whose last cell applies the operation to its current input; if asked, it halves the map."""
    cell = CellSpec.of([(operation, 0, operation, 0)])
    return resolve(
        NetworkSpec(cell, 2, FILTERS, size, None, stem="cifar", stem_multiplier=1.0, reductions=int(reduces),
                    filter_scaling=1.5, epsilon=1e-3)
    )  # fmt: skip


def variables_of(plan: Plan) -> dict[str, Floats]:
    drawn = {name: draw(name, shape) for name, shape in plan.variables().items()}
    for name, value in drawn.items():
        if name.endswith("moving_variance"):
            drawn[name] = (np.abs(value) + 0.1).astype(np.float32)
    return drawn


def impulses(size: tuple[int, int]) -> Floats:
    """Return one image for each corner, the middle, and noise: mid-grey, with one bright pixel."""
    height, width = size
    places = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1), (height // 2, width // 2)]
    images = np.full((len(places) + 1, height, width, 3), 0.5, np.float32)
    for image, place in zip(images, places, strict=False):
        image[place] = (1.0, 0.9, 0.8)
    images[-1] = np.random.default_rng(0).random((height, width, 3))
    return images


def by_torch(plan: Plan, variables: dict[str, Floats], images: Floats, names: tuple[str, str]) -> Maps:
    network = Network(plan).eval()
    network.load_variables(variables)
    with torch.inference_mode():
        outputs = network(torch.from_numpy(images), names)
    return {name: value.numpy() for name, value in outputs.items()}


def by_onnx(plan: Plan, variables: dict[str, Floats], images: Floats, names: tuple[str, str]) -> Maps:
    core = openvino.Core()
    model = core.read_model(build(plan, variables, names).SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {port.any_name: value for port, value in compiled(images).items()}


def expected_of(plan: Plan, x: plain_numpy.Map, operation: str, stride: int, named: dict[str, Floats]) -> Any:
    """Return the last cell's output: the current input projected by a 1x1 convolution, and twice the operation."""
    cell, epsilon = plan.cells[1], plan.spec.epsilon
    filters = cell.output.channels

    def under(prefix: str) -> plain_numpy.Variables:
        return lambda name: named[f"{cell.scope}/{prefix}{name}"].astype(np.float64)

    entry = plain_numpy.conv(np.maximum(x, 0), under("")("1x1/weights"))
    entry = plain_numpy.norm(entry, "beginning_bn", under(""), epsilon)
    sides = [under(f"comb_iter_0/{side}/") for side in ("left", "right")]
    return sum(plain_numpy.operation(operation, entry, filters, stride, side, epsilon) for side in sides)


@pytest.mark.parametrize("lowering", [by_torch, by_onnx])
@pytest.mark.parametrize("reduces", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation_equals_its_definition(operation: str, reduces: bool, lowering: Any) -> None:
    for size in SIZES:
        plan = plan_of(operation, size, reduces=reduces)
        variables, images = variables_of(plan), impulses(size)
        outputs = lowering(plan, variables, images, ("Cell_0", "Cell_1"))
        for before, after in zip(outputs["Cell_0"], outputs["Cell_1"], strict=True):
            x = before.astype(np.float64)
            expected = expected_of(plan, x, operation, 2 if reduces else 1, variables)
            assert after.shape == expected.shape
            np.testing.assert_allclose(after, expected, rtol=0, atol=2e-5 * np.abs(expected).max(), err_msg=str(size))


@pytest.mark.parametrize("lowering", [by_torch, by_onnx])
@pytest.mark.parametrize("size", SIZES)
def test_halving_equals_its_definition(size: tuple[int, int], lowering: Any) -> None:
    """The cell after a reduction looks back at a map of twice its size, here the stem's, and halves it."""
    cell = CellSpec.of([("identity", 1, "identity", 1)])
    reduction = CellSpec.of([("sep3", 0, "max3", 1)])
    plan = resolve(NetworkSpec(cell, 3, FILTERS, size, None, reduction, "cifar", reductions=1))
    variables = variables_of(plan)
    named = {name: value.astype(np.float64) for name, value in variables.items()}
    outputs = lowering(plan, variables, impulses(size), ("Stem", "Cell_1"))
    for before, after in zip(outputs["Stem"], outputs["Cell_1"], strict=True):
        x = np.maximum(before.astype(np.float64), 0)
        expected = 2 * plain_numpy.halved(x, "cell_1/", named.__getitem__, plan.spec.epsilon)
        np.testing.assert_allclose(after, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
