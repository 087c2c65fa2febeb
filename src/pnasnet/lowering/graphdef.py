"""Lowers a plan with its weights to a TensorFlow function, as plain values, without TensorFlow.

The input is `images`, [batch, height, width, 3] float32 in [0, 1]; the outputs are endpoints, with TF-Slim's names and
layouts. Weights are constants with TF-Slim's variable names and unchanged values, so that `open_weights` can read them.
TensorFlow itself folds batch normalization when it loads the function.

Source of operators, arguments and attributes: TensorFlow's core/ops/nn_ops.cc, math_ops.cc and array_ops.cc.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Shape,
    same_padding,
)
from ..architecture.plan import CellPlan, Plan
from .folding import Weights
from .onnx_graph import INPUT


class Type(IntEnum):
    """TensorFlow's `DataType`."""

    FLOAT = 1
    INT32 = 3
    STRING = 7


@dataclass(frozen=True)
class FunctionName:
    """The attribute that names the function of a call."""

    name: str


Attribute = bool | int | float | str | Type | FunctionName | tuple[int, ...] | list[int] | NDArray[Any]
"""A tuple is a shape; an array is a tensor."""


@dataclass(frozen=True)
class Node:
    """A node of a graph or a function. Within a function, inputs are `NODE:OUTPUT:0`, or an argument's name."""

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


_OUTPUTS = {
    "AddV2": "z",
    "AvgPool": "output",
    "BiasAdd": "output",
    "ConcatV2": "output",
    "Const": "output",
    "Conv2D": "output",
    "DepthwiseConv2dNative": "output",
    "FusedBatchNormV3": "y",
    "MatMul": "product",
    "MaxPool": "output",
    "Mean": "output",
    "Mul": "z",
    "Pad": "output",
    "Relu": "activations",
    "Softmax": "softmax",
    "StridedSlice": "output",
    "Sub": "z",
}
"""The name of each operator's first output."""


@dataclass(frozen=True)
class Body:
    """The nodes of a function, and the tensor of each endpoint."""

    nodes: Sequence[Node]
    endpoints: Mapping[str, str]


def lower(plan: Plan, weights: Weights) -> Body:
    """Return the function that computes every endpoint of `plan.endpoints()` from the argument `images`.

    Raises `KeyError` if a variable is not in `weights`.
    """
    graph, endpoints = _FunctionGraph(weights), dict[str, str]()
    doubled = graph.add("Mul", f"{INPUT}/doubled", INPUT, graph.constant("two", np.float32(2)))
    image = graph.add("Sub", f"{INPUT}/centred", doubled, graph.constant("one", np.float32(1)))
    states = [graph.chain(plan.stem, image)]
    if plan.spec.stem == "cifar":
        endpoints["Stem"] = states[0]
    for cell in plan.cells:
        states.append(_cell(cell, graph, states[-1], states[-cell.lookback]))
        if cell.endpoint:
            endpoints[cell.endpoint] = states[-1]
    endpoints["global_pool"] = features = graph.chain(plan.pool, states[-1])
    if plan.classifier:
        endpoints["Logits"] = graph.chain([plan.classifier], features)
        endpoints["Predictions"] = graph.add("Softmax", "Predictions", endpoints["Logits"])
    return Body(list(graph.nodes.values()), endpoints)


def _cell(cell: CellPlan, graph: "_FunctionGraph", current: str, previous: str) -> str:
    states = [graph.chain(cell.entry[0], current), graph.chain(cell.entry[1], previous)]
    for block in cell.blocks:
        branches = [graph.chain(branch.layers, states[branch.source]) for branch in (block.left, block.right)]
        states.append(graph.add("AddV2", block.scope, *branches))
    return graph.concatenate(cell.scope, [graph.chain(branch.layers, states[branch.source]) for branch in cell.concat])


class _FunctionGraph:
    """A function being built: nodes by name, in order of computation."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: dict[str, Node] = {}

    def add(self, operator: str, name: str, *inputs: str, **attributes: Attribute) -> str:
        """Add a node on float32, unless the same one exists already; return its first output."""
        node = Node(name, operator, inputs, {"T": Type.FLOAT, **attributes})
        if self.nodes.setdefault(name, node) != node:
            raise ValueError(f"two different nodes are named {name}")
        return f"{name}:{_OUTPUTS[operator]}:0"

    def constant(self, name: str, value: Any) -> str:
        """Add a constant, float32 or int32, unless it exists already; return it."""
        if name not in self.nodes:
            array = np.asarray(value)
            array = np.ascontiguousarray(array, "<i4" if array.dtype.kind == "i" else "<f4").reshape(array.shape)
            dtype = Type.INT32 if array.dtype.kind == "i" else Type.FLOAT
            self.nodes[name] = Node(name, "Const", (), {"dtype": dtype, "value": array})
        return f"{name}:output:0"

    def concatenate(self, name: str, inputs: Sequence[str]) -> str:
        """Add a concatenation along the channels."""
        return self.add("ConcatV2", name, *inputs, self.constant("channels", np.int32(3)), N=len(inputs))

    def chain(self, layers: Sequence[Layer], x: str) -> str:
        """Add layers one after the other."""
        for layer in layers:
            x = self._layer(layer, x)
        return x

    def _layer(self, layer: Layer, x: str) -> str:
        # A layer without variables is named after its input, so that equal layers on the same map are one node.
        source = x.partition(":")[0]
        match layer:
            case Relu():
                return self.add("Relu", f"{source}/relu", x)
            case Pool():
                operator, name = {"max": "MaxPool", "avg": "AvgPool"}[layer.kind], f"{layer.kind}_{layer.kernel}"
                window = {"ksize": [1, layer.kernel, layer.kernel, 1], **_strides(layer.stride)}
                padding = _padding(layer.input, layer.padding, (layer.kernel, layer.kernel), layer.stride)
                return self.add(operator, f"{source}/{name}_{layer.stride}", x, **window, padding=padding)
            case GlobalPool():
                return self.add("Mean", "global_pool", x, self.constant("pixels", np.array([1, 2], np.int32)))
            case Conv():
                padding = _padding(layer.input, layer.padding, layer.kernel, layer.stride, layer.dilation)
                return self._conv(layer.scope, "weights", x, padding, layer.stride, layer.dilation)
            case SeparableConv():
                return self._separable(layer, x)
            case BatchNorm():
                return self._batch_norm(layer, x)
            case FactorizedReduction():
                return self._halve(layer, x)
            case Dense():
                product = self.add("MatMul", f"{layer.scope}/MatMul", x, self._variable(f"{layer.scope}/weights"))
                return self.add("BiasAdd", layer.scope, product, self._variable(f"{layer.scope}/biases"))
        raise TypeError(f"no lowering for {type(layer).__name__}")

    def _variable(self, name: str) -> str:
        return self.constant(name, self._weights[name])

    def _conv(self, scope: str, leaf: str, x: str, padding: str, stride: int = 1, dilation: int = 1) -> str:
        options = {**_strides(stride), **({"dilations": [1, dilation, dilation, 1]} if dilation > 1 else {})}
        return self.add("Conv2D", scope, x, self._variable(f"{scope}/{leaf}"), **options, padding=padding)

    def _separable(self, layer: SeparableConv, x: str) -> str:
        kernel = self._variable(f"{layer.scope}/depthwise_weights")
        padding = _padding(layer.input, layer.padding, layer.kernel, layer.stride)
        x = self.add(
            "DepthwiseConv2dNative", f"{layer.scope}/depthwise", x, kernel, **_strides(layer.stride), padding=padding
        )
        return self._conv(layer.scope, "pointwise_weights", x, "VALID")

    def _batch_norm(self, layer: BatchNorm, x: str) -> str:
        variables = [self._variable(name) for name in layer.variables()]
        options: dict[str, Attribute] = {"U": Type.FLOAT, "epsilon": layer.epsilon, "is_training": False}
        return self.add("FusedBatchNormV3", layer.scope, x, *variables, **options)

    def _halve(self, layer: FactorizedReduction, x: str) -> str:
        source, (height, width) = x.partition(":")[0], layer.input[:2]
        bounds = [
            self.constant(f"odd/{name}", np.array(value, np.int32))
            for name, value in (("begin", [0, 1, 1, 0]), ("end", [0] * 4), ("strides", [1] * 4))
        ]
        # A set bit of a mask overrides the bound of its axis: from the beginning, or to the end.
        moved = self.add(
            "StridedSlice", f"{source}/moved", x, *bounds, Index=Type.INT32, begin_mask=0b1001, end_mask=0b1111
        )
        if height % 2 or width % 2:
            # A map of odd size has one odd pixel fewer than even pixels, so a zero is added.
            amounts = [[0, 0], [0, height % 2], [0, width % 2], [0, 0]]
            paddings = self.constant(f"{source}/paddings", np.array(amounts, np.int32))
            moved = self.add("Pad", f"{source}/padded", moved, paddings, Tpaddings=Type.INT32)
        paths = [
            self._conv(f"{layer.scope}/path{number}_conv", "weights", path, "VALID", stride=2)
            for number, path in ((1, x), (2, moved))
        ]
        return self.concatenate(f"{layer.scope}/paths", paths)


def _strides(stride: int) -> dict[str, Attribute]:
    return {"strides": [1, stride, stride, 1]}


def _padding(size: Shape, padding: Padding, kernel: tuple[int, int], stride: int, dilation: int = 1) -> str:
    """Return TensorFlow's name of a padding, which all converters of graphs support, unlike numbers."""
    if not any(padding):
        return "VALID"
    same = [same_padding(n, k, stride, dilation) for n, k in zip(size[:2], kernel, strict=True)]
    if (*same[0], *same[1]) != tuple(padding):
        raise ValueError(f"{padding} is neither VALID nor SAME")
    return "SAME"
