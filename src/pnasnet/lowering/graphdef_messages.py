"""GraphDefs and functions as protocol buffers.

Sources: TensorFlow's graph.proto, node_def.proto, attr_value.proto, tensor.proto, tensor_shape.proto, function.proto
and op_def.proto.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..support.protobuf import Message
from .graphdef import Attribute, FunctionName, Node, Type

Dims = tuple[int, ...]
"""A shape; -1 for an unknown size."""

_PRODUCER, _MIN_CONSUMER = 1087, 12
"""Versions of GraphDef: TensorFlow 2.9, whose operators have kept their meaning, and the oldest possible reader."""


def graph(nodes: Sequence[Node], functions: Sequence[Message]) -> Message:
    """Return a GraphDef with a library of functions."""
    versions = Message().number(1, _PRODUCER).number(2, _MIN_CONSUMER)
    return Message().data(1, *map(node_message, nodes)).data(2, Message().data(1, *functions)).data(4, versions)


def function(name: str, argument: tuple[str, Dims], nodes: Sequence[Node], outputs: Mapping[str, str]) -> Message:
    """Return a FunctionDef of float32 tensors.

    Args:
        name: name of the function.
        argument: name and shape of the argument.
        nodes: nodes of the function.
        outputs: names of the outputs, in order, and their tensors.
    """
    signature = Message().text(1, name).data(2, _argument(argument[0]))
    signature.data(3, *(_argument(output_name(output)) for output in outputs))
    message = Message().data(1, signature).data(3, *map(node_message, nodes))
    for output, tensor in outputs.items():
        message.data(4, Message().text(1, output_name(output)).text(2, tensor))
    message.entry(5, "_input_shapes", Message().data(1, Message().data(7, shape_message(argument[1]))))
    named = Message().entry(1, "_user_specified_name", _attribute(argument[0]))
    return message.data(7, Message().number(1, 0).data(2, named))


def output_name(name: str) -> str:
    """Return a name in the form that TensorFlow allows for a function's output."""
    return name.lower()


def _argument(name: str) -> Message:
    return Message().text(1, name).number(3, Type.FLOAT)


def node_message(node: Node) -> Message:
    """Return a NodeDef."""
    message = Message().text(1, node.name).text(2, node.operator).text(3, *node.inputs)
    for name, value in node.attributes.items():
        message.entry(5, name, _attribute(value))
    return message


def _attribute(value: Attribute) -> Message:
    """Return an AttrValue."""
    match value:
        case bool():
            return Message().number(5, value)
        case Type():
            return Message().number(6, value)
        case int():
            return Message().number(3, value)
        case float():
            return Message().real(4, value)
        case str():
            return Message().text(2, value)
        case tuple():
            return Message().data(7, shape_message(value))
        case list():
            types = all(isinstance(each, Type) for each in value)
            return Message().data(1, Message().packed(6 if types else 3, value))
        case FunctionName(name):
            return Message().data(10, Message().text(1, name))
    return Message().data(8, _tensor(value))


def _tensor(array: "NDArray[np.float32] | NDArray[np.int32]") -> Message:
    dtype = Type.INT32 if array.dtype.kind == "i" else Type.FLOAT
    content = array.reshape(-1).view(np.uint8).data
    return Message().number(1, dtype).data(2, shape_message(array.shape)).data(4, content)


def shape_message(dims: Dims) -> Message:
    """Return a TensorShapeProto."""
    return Message().data(2, *(Message().number(1, size) for size in dims))
