"""The TensorFlow graph of a plan, run by OpenVINO's reader of frozen graphs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import pytest

from pnasnet.architecture.cells import NASNET_A_NORMAL, NASNET_A_REDUCTION, PNASNET5
from pnasnet.architecture.plan import Plan, resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.lowering.graphdef import Node, Type, lower
from pnasnet.lowering.graphdef_messages import graph
from pnasnet.lowering.onnx_graph import build

from tests.helpers.golden_weights import EVERY_OPERATION, SPECS, Floats, assert_endpoints, drawn, images, weights


def run(plan: Plan, values: dict[str, Floats], batch: Floats, folder: Path) -> dict[str, Floats]:
    """Run the function as a graph: its nodes refer to others by name alone."""
    body = lower(plan, values)
    nodes = [Node("images", "Placeholder", (), {"dtype": Type.FLOAT, "shape": (-1, *plan.spec.image_size, 3)})]
    nodes += [replace(node, inputs=tuple(name.partition(":")[0] for name in node.inputs)) for node in body.nodes]
    nodes += [
        Node(f"out/{endpoint}", "Identity", (tensor.partition(":")[0],), {"T": Type.FLOAT})
        for endpoint, tensor in body.endpoints.items()
    ]
    (folder / "graph.pb").write_bytes(bytes(graph(nodes, [])))
    compiled = openvino.Core().compile_model(folder / "graph.pb", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = compiled(batch)
    return {
        endpoint: next(v for port, v in outputs.items() if f"out/{endpoint}:0" in port.get_names())
        for endpoint in plan.endpoints()
    }


def test_every_endpoint_equals_tensorflows(tmp_path: Path) -> None:
    plan = resolve(SPECS["nasnet_cifar"])
    assert_endpoints("nasnet_cifar", run(plan, weights("nasnet_cifar"), images(32), tmp_path))


@pytest.mark.parametrize(
    "spec",
    [
        NetworkSpec(EVERY_OPERATION, 3, 8, (15, 20), 5, stem="cifar"),
        NetworkSpec(PNASNET5, 3, 8, (65, 70), 5),
        NetworkSpec(NASNET_A_NORMAL, 3, 8, (71, 80), 5, NASNET_A_REDUCTION),
    ],
    ids=["every operation", "PNASNet", "NASNet"],
)
def test_any_other_network_equals_the_onnx_graph(spec: NetworkSpec, tmp_path: Path) -> None:
    plan = resolve(spec)
    values = drawn(spec)
    batch = np.random.default_rng(0).random((2, *spec.image_size, 3), np.float32)
    core = openvino.Core()
    model = core.read_model(build(plan, values, list(plan.endpoints())).SerializeToString())
    expected = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)
    for name, value in run(plan, values, batch, tmp_path).items():
        assert np.isfinite(expected[name]).all()
        atol = 2e-5 * float(np.abs(expected[name]).max())
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=atol, err_msg=name)


def test_weights_are_constants_with_the_values_of_the_checkpoint() -> None:
    plan, values = resolve(SPECS["nasnet_cifar"]), weights("nasnet_cifar")
    constants = {node.name: node.attributes["value"] for node in lower(plan, values).nodes if node.operator == "Const"}
    for name, shape in plan.variables().items():
        assert constants[name].shape == shape  # type: ignore[union-attr] # an array
        np.testing.assert_array_equal(constants[name], values[name])
