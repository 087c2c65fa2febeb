"""Lowers a plan with its weights to an ONNX graph with folded batch normalization, without torch or TensorFlow.

The input is a batch of images, [batch, height, width, 3] in [0, 1]; the outputs are endpoints, with TF-Slim's names and
layouts. Inside, maps are [batch, channels, height, width], as ONNX defines convolutions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..architecture.layers import (
    BatchNorm,
    Conv,
    Dense,
    FactorizedReduction,
    GlobalPool,
    Layer,
    Padding,
    Pool,
    Relu,
    SeparableConv,
)
from ..architecture.plan import CellPlan, Plan
from ..errors import UnknownNameError
from .folding import Folding, Weights

if TYPE_CHECKING:
    import onnx

GRAPH_VERSION = 1
"""Increase it with every change to the graphs that `build` returns: the cache ignores models of other versions."""

OPSET = 17
IR_VERSION = 8
INPUT = "images"


def build(
    plan: Plan,
    weights: Weights,
    outputs: Sequence[str] = ("global_pool",),
    metadata: Mapping[str, str] | None = None,
) -> "onnx.ModelProto":
    """Return a model of `plan` that computes `outputs` and nothing else. Equal arguments return equal bytes.

    Args:
        plan: the network.
        weights: its variables; each is read once, when needed.
        outputs: names from `plan.endpoints()`; maps have the shape [batch, height, width, channels]
            float32, `global_pool` [batch, features], `Logits` and `Predictions` (their softmax) [batch, classes].
        metadata: entries of the model's key-value store.

    Returns:
        A model with the input `images`, [batch, height, width, 3] float32 in [0, 1], of any batch size.

    Raises:
        UnknownNameError: the plan has no such endpoint.
        KeyError: a variable is not in `weights`.
    """
    known = plan.endpoints()
    for name in outputs:
        if name not in known:
            raise UnknownNameError.of("endpoint", name, list(known))
    graph = _OnnxGraph(plan, weights)
    _lower(plan, graph)
    return graph.to_model((*plan.spec.image_size, 3), {name: known[name] for name in outputs}, metadata or {})


def _lower(plan: Plan, graph: "_OnnxGraph") -> None:
    """Add all nodes of the network; each endpoint is the node of its name."""
    scaled = graph.add("Mul", f"{INPUT}/doubled", [INPUT, graph.constant("two", lambda: np.float32(2))])
    scaled = graph.add("Sub", f"{INPUT}/centred", [scaled, graph.constant("one", lambda: np.float32(1))])
    image = graph.add("Transpose", f"{INPUT}/channels_first", [scaled], perm=[0, 3, 1, 2])
    states = [graph.chain(plan.stem, image)]
    if plan.spec.stem == "cifar":
        graph.add("Transpose", "Stem", [states[0]], perm=[0, 2, 3, 1])
    for cell in plan.cells:
        states.append(_cell(cell, graph, states[-1], states[-cell.lookback]))
        if cell.endpoint:
            graph.add("Transpose", cell.endpoint, [states[-1]], perm=[0, 2, 3, 1])
    pooled = graph.chain(plan.pool, states[-1])
    features = graph.add("Flatten", "global_pool", [pooled], axis=1)
    if plan.classifier:
        logits = graph.add("Identity", "Logits", [graph.chain([plan.classifier], features)])
        graph.add("Softmax", "Predictions", [logits], axis=1)


def _cell(cell: CellPlan, graph: "_OnnxGraph", current: str, previous: str) -> str:
    states = [graph.chain(cell.entry[0], current), graph.chain(cell.entry[1], previous)]
    for block in cell.blocks:
        branches = [graph.chain(branch.layers, states[branch.source]) for branch in (block.left, block.right)]
        states.append(graph.add("Add", block.scope, branches))
    kept = [graph.chain(branch.layers, states[branch.source]) for branch in cell.concat]
    return graph.add("Concat", cell.scope, kept, axis=1)


class _OnnxGraph:
    """A graph being built: nodes in order of computation, and constants that are read at the end."""

    def __init__(self, plan: Plan, weights: Weights) -> None:
        self._weights, self._folding = weights, Folding(plan, weights)
        self._nodes: dict[str, tuple[str, Sequence[str], dict[str, Any]]] = {}
        self._constants: dict[str, Callable[[], npt.ArrayLike]] = {}

    def add(self, operator: str, output: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node, unless the same one exists already; return `output`."""
        node = operator, list(inputs), attributes
        if self._nodes.setdefault(output, node) != node:
            raise ValueError(f"two different nodes are named {output}")
        return output

    def constant(self, name: str, value: Callable[[], npt.ArrayLike]) -> str:
        """Add a constant. `value` is called only if the finished model needs it."""
        self._constants[name] = value
        return name

    def chain(self, layers: Sequence[Layer], x: str) -> str:
        """Add layers one after the other."""
        for layer in layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Layer, x: str) -> str:
        match layer:
            case Relu():
                # Named after the input, so that equal layers on the same map are one node.
                return self.add("Relu", f"{x}/relu", [x])
            case Pool():
                return self._pool(layer, x)
            case GlobalPool():
                return self.add("GlobalAveragePool", f"{x}/mean", [x])
            case Conv():
                return self._conv(
                    layer.scope, f"{layer.scope}/weights", x,
                    stride=layer.stride, pads=_pads(layer.padding), dilations=[layer.dilation] * 2,
                )  # fmt: skip
            case SeparableConv():
                return self._separable(layer, x)
            case FactorizedReduction():
                return self._halve(layer, x)
            case BatchNorm():
                return x  # folded into the convolution before it
            case Dense():
                names = (f"{layer.scope}/weights", f"{layer.scope}/biases")
                constants = [self.constant(name, partial(self._weights.__getitem__, name)) for name in names]
                return self.add("Gemm", layer.scope, [x, *constants])
        raise TypeError(f"no lowering for {type(layer).__name__}")

    def _pool(self, layer: Pool, x: str) -> str:
        options = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2, "pads": _pads(layer.padding)}
        # ONNX pads a maximum with minus infinity and, by default, leaves the padding out of an average.
        operator = {"max": "MaxPool", "avg": "AveragePool"}[layer.kind]
        return self.add(operator, f"{x}/{layer.kind}_{layer.kernel}_{layer.stride}", [x], **options)

    def _separable(self, layer: SeparableConv, x: str) -> str:
        name = f"{layer.scope}/depthwise_weights"
        kernel = self.constant(name, lambda: self._weights[name].transpose(2, 3, 0, 1))  # [H, W, C, 1] -> [C, 1, H, W]
        options = {"strides": [layer.stride] * 2, "pads": _pads(layer.padding), "group": layer.input.channels}
        x = self.add("Conv", f"{layer.scope}/depthwise", [x, kernel], **options)
        return self._conv(layer.scope, f"{layer.scope}/pointwise_weights", x)

    def _halve(self, layer: FactorizedReduction, x: str) -> str:
        height, width, _ = layer.input
        moved = self.add("Slice", f"{x}/moved", [x, *self._integers("odd", [1, 1], [2**31 - 1] * 2, [2, 3])])
        # A map of odd size has one odd pixel fewer than even pixels, so padding is added.
        pads = [0, 0, height % 2, width % 2]
        names = [f"{layer.scope}/path{i}_conv" for i in (1, 2)]
        even = self._conv(names[0], f"{names[0]}/weights", x, stride=2)
        odd = self._conv(names[1], f"{names[1]}/weights", moved, stride=2, pads=pads)
        return self.add("Concat", f"{layer.scope}/paths", [even, odd], axis=1)

    def _conv(self, output: str, variable: str, x: str, *, stride: int = 1, **attributes: Any) -> str:
        """Add a convolution, with the batch normalization after it folded in."""
        # [H, W, in, out] -> [out, in, H, W]
        inputs = [x, self.constant(variable, lambda: self._folding.kernel(variable).transpose(3, 2, 0, 1))]
        if variable in self._folding:
            inputs.append(self.constant(f"{output}/offset", lambda: self._folding.offset(variable)))
        return self.add("Conv", output, inputs, strides=[stride] * 2, **attributes)

    def _integers(self, name: str, *values: Sequence[int]) -> list[str]:
        return [self.constant(f"{name}/{i}", partial(np.array, value, np.int64)) for i, value in enumerate(values)]

    def to_model(
        self, image: tuple[int, ...], outputs: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]
    ) -> "onnx.ModelProto":
        """Return the model of `outputs` (names and shapes without the batch), reading the constants it needs."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        needed = self._needed(outputs)
        model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="pnasnet")
        model.opset_import.add(version=OPSET)
        helper.set_model_props(model, dict(sorted(metadata.items())))
        # Filled in place: the helpers that make a graph copy all its weights.
        graph = model.graph
        graph.name = "network"
        for target, ports in ((graph.input, {INPUT: image}), (graph.output, outputs)):
            for name, shape in ports.items():
                target.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]))
        for name, (operator, inputs, attributes) in self._nodes.items():
            if name in needed:
                graph.node.append(helper.make_node(operator, inputs, [name], name, **attributes))
        for name in (name for name in self._constants if name in needed):
            value = np.asarray(self._constants[name]())
            value = value if value.dtype == np.int64 else value.astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return model

    def _needed(self, outputs: Iterable[str]) -> set[str]:
        """Return the names of all nodes and constants from which `outputs` are computed."""
        needed = set(outputs)
        for name, (_, inputs, _) in reversed(self._nodes.items()):
            if name in needed:
                needed.update(inputs)
        return needed


def _pads(padding: Padding) -> list[int]:
    """Return the padding in ONNX's order: begins, then ends."""
    return [padding.top, padding.left, padding.bottom, padding.right]
