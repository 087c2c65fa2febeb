"""OpenVINO's graphs of a quantization: in float32, for measuring ranges, in int8, and with parts in floating point."""

import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.plan import Plan
from ..engines.openvino_calls import infer
from ..engines.signal_stack import kept_signal_stack
from ..errors import MissingExtraError
from ..lowering.onnx_graph import build
from ..support.progress import Progress, counter

if TYPE_CHECKING:
    import openvino

Floats = NDArray[np.float32]
Outputs = dict[str, Floats]

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def check_library() -> None:
    """Raise `MissingExtraError` without NNCF, the library that quantizes."""
    os.environ.setdefault("NNCF_CI", "1")  # turns off the library's usage statistics, which it would send
    try:
        import nncf  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("nncf", "int8", "quantization") from error
    logging.getLogger("nncf").setLevel(logging.ERROR)  # nncf.set_log_level also changes handlers, which may be shared


def float_graph(plan: Plan, arrays: Mapping[str, Floats]) -> "openvino.Model":
    """Return the graph of a network in float32, with every endpoint as an output.

    `convert_model` folds kernels and offsets into constants. `read_model` would leave operations on shapes before
    offsets and depthwise kernels, which the quantization would then not find.
    """
    import openvino

    proto = build(plan, arrays, tuple(plan.endpoints()))
    return openvino.convert_model(io.BytesIO(proto.SerializeToString(deterministic=True)))


def pruned(graph: "openvino.Model", names: Iterable[str]) -> "openvino.Model":
    """Return the part of a graph that computes these outputs."""
    import openvino

    return openvino.Model([graph.output(name).node for name in names], graph.get_parameters(), "network")


@kept_signal_stack()
def run(
    graph: "openvino.Model", images: Floats, batch_size: int, precision: str = "float32", threads: int | None = None
) -> Outputs:
    """Run a graph on the CPU; return its outputs by name, [images, ...]. Raises `OutOfMemoryError`."""
    import openvino

    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(graph, "CPU", config)
    names = [output.any_name for output in graph.outputs]
    request = compiled.create_infer_request()
    parts = [infer(request, batch, names) for batch in batches(images, batch_size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def batches(images: Floats, batch_size: int) -> Iterator[Floats]:
    """Yield batches of images."""
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size]


@kept_signal_stack()
def channel_ranges(
    graph: "openvino.Model", nodes: Mapping[str, str], images: Floats, batch_size: int
) -> dict[str, Floats]:
    """Return the largest absolute value of each channel of nodes over images, [channels], by the keys of `nodes`."""
    import openvino
    from openvino import opset13 as ops

    found = {node.get_friendly_name(): node for node in graph.get_ops()}
    results = []
    for name in nodes.values():
        highest = ops.reduce_max(ops.abs(found[name]), np.array([0, 2, 3], np.int64))
        results.append(ops.result(highest))
    measured = openvino.Model(results, graph.get_parameters(), "ranges")
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(measured, "CPU", config).create_infer_request()
    places = range(len(results))
    ranges: dict[str, Floats] = {}
    for batch in batches(images, batch_size):
        for key, value in zip(nodes, infer(request, batch, places, by_image=False).values(), strict=True):
            ranges[key] = np.maximum(ranges[key], value) if key in ranges else value
    return ranges


@kept_signal_stack()
def quantized(graph: "openvino.Model", images: Floats, batch_size: int, progress: Progress) -> "openvino.Model":
    """Return the graph in int8, calibrated with images: a scale per output channel of weights, and per activation.

    Ranges of activations minimize the quantization error, by histogram. Extreme values would make them too wide, and
    means of extremes, the library's default, so narrow that the features of some images change direction.
    """
    check_library()
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    parts = list(batches(images, batch_size))
    advance = counter(progress, "quantizing", None)
    advance(0)
    with redirect_stdout(io.StringIO()):  # the library draws bars on it
        return nncf.quantize(
            graph,
            nncf.Dataset(parts),
            subset_size=len(parts),
            # Activations that are not outputs of a ReLU are not symmetric about zero.
            preset=nncf.QuantizationPreset.MIXED,
            # Sums and pools are not faster in int8, and would add conversions, and rounding to further ranges.
            ignored_scope=nncf.IgnoredScope(types=["Add", "MaxPool", "AvgPool"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM
            ),
        )


def without(graph: "openvino.Model", scopes: Iterable[str]) -> "openvino.Model":
    """Return a copy in which the layers of some scopes run in floating point: their inputs are not quantized.

    Their weights stay rounded to int8, which costs little fidelity.
    """
    copy, prefixes = graph.clone(), tuple(f"{scope}/" for scope in scopes)
    for node in copy.get_ordered_ops():
        if not f"{node.get_friendly_name()}/".startswith(prefixes) or node.get_type_name() == "FakeQuantize":
            continue
        for place in node.inputs():
            source = place.get_source_output().get_node()
            if source.get_type_name() == "FakeQuantize":
                place.replace_source_output(source.input_value(0))
    _share_ranges(copy)
    copy.validate_nodes_and_infer_types()
    return copy


def _share_ranges(graph: "openvino.Model") -> None:
    """Let all quantized readers of a tensor share the widest of their ranges, also those behind a shift by a pixel.

    OpenVINO quantizes a tensor once per range, in float32, and changes its layout before and after. With shared ranges,
    `pnasnet_small` needed 0.88 times the processor time in batches of 64.
    """
    direct: dict[tuple[str, int], list[Any]] = {}
    shifts: dict[tuple[str, int], list[Any]] = {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        source = node.input_value(0)
        found, shifted = direct, source.get_node()
        if shifted.get_type_name() == "Slice" and len(source.get_target_inputs()) == 1:
            found, source = shifts, shifted.input_value(0)
        found.setdefault((source.get_node().get_friendly_name(), source.get_index()), []).append(node)
    for key, quantizers in direct.items():
        single = [node for node in quantizers if _width(node).size == 1]  # the others have a range per channel
        if not single:
            continue
        shared = max(single, key=lambda node: float(_width(node).max()))
        for node in quantizers:
            if node is not shared:
                _replace(node, shared)
        for node in shifts.get(key, []):
            shift = node.input_value(0).get_node()
            shift.input(0).replace_source_output(shared.output(0))
            _replace(node, shift)


def _width(quantizer: Any) -> Floats:
    low, high = (quantizer.input_value(place).get_node().get_data() for place in (1, 2))
    return np.asarray(high - low)


def _replace(node: Any, by: Any) -> None:
    for place in list(node.output(0).get_target_inputs()):
        place.replace_source_output(by.output(0))
