"""OpenVINO's graphs of a quantization."""

from collections import Counter

import openvino

from tests.helpers.quantized_models import quantized_tiny


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
