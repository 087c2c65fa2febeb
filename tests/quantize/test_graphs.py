"""OpenVINO's graphs of a quantization."""

from collections import Counter
from typing import Any

import openvino
import pytest

from pnasnet.architecture.cells import PNASNET5
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.spec import NetworkSpec
from pnasnet.errors import OutOfMemoryError
from pnasnet.quantize.graphs import channel_ranges, float_graph, run

from tests.helpers.golden_weights import drawn, images
from tests.helpers.quantized_models import quantized_tiny
from tests.helpers.stale_requests import Stale


def test_the_readers_of_a_tensor_share_one_range_also_behind_a_shift() -> None:
    graph = openvino.Core().read_model(quantized_tiny().folder / "int8.xml")
    ranges: Counter[tuple[str, int]] = Counter()
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            source = node.input_value(0)
            assert source.get_node().get_type_name() != "Slice", node.get_friendly_name()
            if node.input_value(1).get_node().get_data().size == 1:
                ranges[source.get_node().get_friendly_name(), source.get_index()] += 1
    assert ranges.most_common(1)[0][1] == 1
    shifted = [node for node in graph.get_ops() if node.get_type_name() == "Slice"]
    assert shifted
    for node in shifted:
        assert node.input_value(0).get_node().get_type_name() == "FakeQuantize", node.get_friendly_name()


def test_outputs_that_were_not_computed_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too little memory, OpenVINO reports success and leaves an earlier batch's outputs in place."""
    spec = NetworkSpec(PNASNET5, 3, 8, (32, 32), 5, stem="cifar")
    graph = float_graph(resolve(spec), drawn(spec))
    nodes = {
        "kernel": next(node.get_friendly_name() for node in graph.get_ops() if node.get_type_name() == "Convolution")
    }
    requests: list[Stale] = []
    create = openvino.CompiledModel.create_infer_request

    def stale(compiled: Any) -> Stale:
        requests.append(Stale(create(compiled), most=1))
        requests[-1].infer([images(32)[:1]])  # an earlier batch
        return requests[-1]

    monkeypatch.setattr(openvino.CompiledModel, "create_infer_request", stale)
    assert len(run(graph, images(32), 1)["global_pool"]) == 4
    assert channel_ranges(graph, nodes, images(32), 1)["kernel"].min() >= 0
    for call in (lambda: run(graph, images(32), 3), lambda: channel_ranges(graph, nodes, images(32)[:3], 2)):
        requests.clear()
        with pytest.raises(OutOfMemoryError, match=r"^not enough memory on the device to run . images: "):
            call()  # type: ignore[no-untyped-call]
        assert len(requests) == 1
