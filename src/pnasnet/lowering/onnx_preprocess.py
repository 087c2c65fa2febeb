"""Adds the preprocessing to an ONNX model, which then accepts decoded images of any size.

ONNX's `Resize`, asymmetric and linear, uses the positions and weights of TensorFlow 1's `resize_bilinear`. The order of
its float32 arithmetic is another, so values differ from those of `images.transform` by up to 3.4e-5.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..images import Preset
from .onnx_graph import INPUT

if TYPE_CHECKING:
    import onnx

_RESIZED = f"{INPUT}/resized"


def check_preprocess(preset: Preset) -> None:
    """Raise `InputError` for a preset that ONNX cannot compute."""
    if preset.resize != "bilinear":
        raise InputError(
            f"the preset {preset.name} resizes as Pillow's bicubic filter does, which ONNX lacks: "
            "export without preprocessing, and resize with pnasnet.images.preprocess"
        )


def add_preprocessing(model: "onnx.ModelProto", size: tuple[int, int], preset: Preset) -> None:
    """Change a model of `onnx_graph.build` to accept decoded images, uint8 [batch, height, width, 3] of any size.

    All images of a batch have the same size. They are cropped, scaled to [0, 1] and resized as in the preset.

    Args:
        model: the model, changed in place.
        size: height and width of the network's input.
        preset: the preprocessing.

    Raises:
        InputError: the preset does not resize bilinearly.
    """
    from onnx import TensorProto, helper

    check_preprocess(preset)
    graph = model.graph
    nodes = _Nodes(graph)
    cropped = _add_crop(nodes, Fraction(preset.crop))
    planes = nodes.add("Transpose", "planes", cropped, perm=[0, 3, 1, 2])
    values = nodes.add("Cast", "values", planes, to=TensorProto.FLOAT)
    scaled = nodes.add("Mul", "scaled", values, nodes.constant("scale", np.float32(1 / 255)))
    outer = nodes.add("Shape", "outer", scaled, start=0, end=2)
    sizes = nodes.add("Concat", "sizes", outer, nodes.constant("size", np.array(size, np.int64)), axis=0)
    resized = nodes.add(
        "Resize", "resized_planes", scaled, "", "", sizes, mode="linear", coordinate_transformation_mode="asymmetric"
    )
    nodes.add("Transpose", "resized", resized, perm=[0, 2, 3, 1])
    network = list(graph.node)
    for node in network:
        node.input[:] = [_RESIZED if name == INPUT else name for name in node.input]
    del graph.node[:]
    graph.node.extend([*nodes.nodes, *network])
    pixels = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", "height", "width", 3])
    graph.input[0].CopyFrom(pixels)


def _add_crop(nodes: "_Nodes", kept: Fraction) -> str:
    """Add the central crop, with the margins before it rounded down; return the name of the result."""
    margin = (1 - kept) / 2
    if not margin:
        return INPUT
    # In integers: engines may compute float64 as float32.
    shape = nodes.add("Shape", "shape", INPUT, start=1, end=3)
    shares = nodes.add("Mul", "shares", shape, nodes.constant("numerator", np.int64(margin.numerator)))
    starts = nodes.add("Div", "starts", shares, nodes.constant("denominator", np.int64(margin.denominator)))
    ends = nodes.add("Sub", "ends", shape, starts)
    return nodes.add("Slice", "cropped", INPUT, starts, ends, nodes.constant("axes", np.array([1, 2], np.int64)))


class _Nodes:
    """Collects new nodes; adds constants to the graph directly."""

    def __init__(self, graph: "onnx.GraphProto") -> None:
        self._graph = graph
        self.nodes: list[onnx.NodeProto] = []

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        output = f"{INPUT}/{name}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        full = f"{INPUT}/{name}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), full))
        return full
