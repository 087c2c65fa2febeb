"""The ONNX graph against TensorFlow's outputs, and against the torch network where there are no goldens."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5, CellSpec
from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import UnknownNameError
from pnasnet.lowering.onnx_graph import build
from pnasnet.lowering.torch_network import Network

from tests.helpers.golden_weights import EVERY_OPERATION, SPECS, Floats, assert_endpoints, draw, images, weights

NASNETS_OTHERS = CellSpec.of([("conv1", 0, "conv3", 1), ("max5", 1, "conv1x3_3x1", 0), ("max7", 0, "conv3", 2)])
ONE_INPUT = CellSpec.of([("sep3", 0, "identity", 0)])


class CountingWeights(Mapping[str, Floats]):
    """Weights that remember what was read."""

    def __init__(self, plan: Plan) -> None:
        self.shapes, self.read = plan.variables(), Counter[str]()

    def __getitem__(self, name: str) -> Floats:
        self.read[name] += 1
        return np.abs(draw(name, self.shapes[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def run(model: onnx.ModelProto, batch: Floats) -> dict[str, Floats]:
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return {port.any_name: value for port, value in compiled(batch).items()}


def tiny(cell: CellSpec = PNASNET5, size: tuple[int, int] = (17, 17), stem: Any = "cifar", **fields: Any) -> Plan:
    return resolve(NetworkSpec(cell, 3, 8, size, 5, stem=stem, stem_multiplier=1.0, **fields))


@pytest.mark.parametrize(
    "name", ["pnasnet_mobile", "nasnet_mobile", "nasnet_cifar", pytest.param("pnasnet_large", marks=pytest.mark.slow)]
)
def test_every_endpoint_equals_tensorflows(name: str) -> None:
    plan = resolve(SPECS[name])
    outputs = run(build(plan, weights(name), list(plan.endpoints())), images(plan.spec.image_size[0]))
    assert list(outputs) == list(plan.endpoints())
    assert_endpoints(name, outputs)


@pytest.mark.parametrize(
    "plan",
    [
        tiny(),
        tiny(EVERY_OPERATION),
        tiny(EVERY_OPERATION, (16, 18)),
        tiny(EVERY_OPERATION, (15, 20)),
        tiny(NASNETS_OTHERS, (15, 20)),
        tiny(ONE_INPUT),
        tiny(size=(32, 33), stem_stride=2),
        tiny(size=(65, 70), stem="imagenet"),
        tiny(EVERY_OPERATION, (64, 67), "imagenet"),
        tiny(NASNET_A_NORMAL, (19, 16), reduction_cell=NASNET_A_REDUCTION),
        tiny(NASNET_A_NORMAL, (71, 80), "imagenet", reduction_cell=NASNET_A_REDUCTION),
        tiny(NASNET_A_NORMAL, (20, 17), reduction_cell=NASNET_A_REDUCTION, skip_reduction_input=False),
    ],
    ids=lambda plan: f"{plan.spec.stem}-{plan.spec.image_size[0]}x{plan.spec.image_size[1]}",
)
def test_any_other_network_equals_the_torch_network(plan: Plan) -> None:
    drawn = CountingWeights(plan)
    batch = np.random.default_rng(0).random((2, *plan.spec.image_size, 3), np.float32)
    network = Network(plan).eval()
    network.load_variables(drawn)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch), list(plan.endpoints()))
    outputs = run(build(plan, drawn, list(plan.endpoints())), batch)
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=0, atol=2e-5 * float(value.abs().max()), err_msg=name)


def test_a_model_holds_what_its_outputs_need_and_each_variable_is_read_once() -> None:
    plan = tiny()
    drawn = CountingWeights(plan)
    model = build(plan, drawn, ["Cell_0"])
    assert [output.name for output in model.graph.output] == ["Cell_0"]
    first = [*plan.stem, *plan.cells[0].layers()]
    assert drawn.read == Counter({name: 1 for layer in first for name in layer.variables()})
    used = {name for node in model.graph.node for name in node.input} | {"Cell_0"}
    assert {node.output[0] for node in model.graph.node} <= used
    assert {tensor.name for tensor in model.graph.initializer} <= used


def test_the_model_is_valid_onnx_with_named_ports_and_metadata() -> None:
    plan = tiny()
    model = build(plan, CountingWeights(plan), ["Predictions", "Stem"], {"model": "tiny", "licence": "none"})
    onnx.checker.check_model(model, full_check=True)
    ports = {
        port.name: [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]
        for port in (*model.graph.input, *model.graph.output)
    }
    assert ports == {"images": ["batch", 17, 17, 3], "Predictions": ["batch", 5], "Stem": ["batch", 17, 17, 8]}
    assert [(p.key, p.value) for p in model.metadata_props] == [("licence", "none"), ("model", "tiny")]


def test_equal_arguments_give_equal_bytes() -> None:
    plan = tiny()
    first, second = (build(plan, CountingWeights(plan)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_equal_layers_on_one_map_are_computed_once() -> None:
    plan = tiny()
    model = build(plan, CountingWeights(plan))
    cell = [node for node in model.graph.node if node.name.startswith("cell_1/1x1/")]
    # Two blocks pool the current input in the same way, and three convolutions want its positive part.
    assert Counter(node.op_type for node in cell) == {"MaxPool": 1, "Relu": 1}


def test_an_unknown_endpoint_is_named() -> None:
    plan = tiny()
    with pytest.raises(UnknownNameError, match="unknown endpoint 'cell_0': did you mean Cell_0"):
        build(plan, CountingWeights(plan), ["cell_0"])
