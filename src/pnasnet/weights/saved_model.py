"""SavedModel folders: TF1 hub modules and TF2 SavedModels, without TensorFlow.

Both are `saved_model.pb` and a checkpoint `variables/variables`. A TF1 module's checkpoint contains the variables'
names; a TF2 one is keyed by object path, and its object graph, a string in the checkpoint, holds the names. A frozen
SavedModel, such as `pnasnet export` writes, has no variables: its weights are constants in the graph.

Sources: TensorFlow's saved_model.proto, meta_graph.proto and trackable_object_graph.proto; tensorflow_hub's
module_attachment.proto and image_module_info.proto.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import CorruptWeightsError
from .arrays import ArrayShape, LazyArrays
from .bundle import Bundle
from .files import MappedFile
from .wire import ParsedMessage

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"

_ATTACHMENTS = "hub_module_attachments"
MAX_BYTES = 2**31 - 1
"""The longest protocol buffer that TensorFlow writes."""
_FLOAT = 1  # DataType of types.proto
_MAX_GRAPHS = 16
_MAX_SIDE = 2**16
_MAX_RANK = 8


@dataclass(frozen=True)
class Signature:
    """Names and shapes of a signature's inputs and outputs; None for an unknown dimension or shape.

    Example:
        >>> from pnasnet import open_weights
        >>> with open_weights("hub_module") as weights:
        ...     weights.hub.signatures["default"].inputs
        {'images': (None, 64, 64, 3)}
    """

    inputs: Mapping[str, tuple[int | None, ...] | None]
    outputs: Mapping[str, tuple[int | None, ...] | None]


@dataclass(frozen=True)
class HubModuleInfo:
    """What a SavedModel states about itself.

    Example:
        >>> from pnasnet import open_weights
        >>> with open_weights("hub_module") as weights:
        ...     weights.hub.image_size, sorted(weights.hub.signatures), weights.hub.default_width
        ((64, 64), ['default', 'image_feature_vector'], 160)
    """

    image_size: tuple[int, int] | None
    """Height and width: attached to a hub module, or else the shape of the input `images`."""
    tags: tuple[frozenset[str], ...]
    """The tags of each graph variant; for a hub module, set() and {"train"}."""
    signatures: Mapping[str, Signature]
    """The signatures of the variant for inference."""
    training_signatures: Mapping[str, Signature]
    """The signatures of the variant tagged `train`; empty without one."""

    @property
    def default_width(self) -> int | None:
        """Length of the vectors that the default signature returns; None if the file does not state it."""
        chosen = self.signatures.get("default") or self.signatures.get("serving_default")
        outputs = chosen.outputs if chosen else {}
        shape = outputs.get("default") or next(iter(outputs.values()), None)
        return shape[1] if shape and len(shape) == 2 else None


def read_module_info(path: Path) -> HubModuleInfo:
    """Read the `saved_model.pb` at `path`.

    Raises:
        CorruptWeightsError: it is damaged, or beyond the bounds of this module.
    """
    origin = str(path)
    data = MappedFile(path).bytes
    if len(data) > MAX_BYTES:
        raise CorruptWeightsError(f"{origin} has {len(data)} bytes; more than {MAX_BYTES} are not read")
    model = ParsedMessage(data.data, origin)
    count = len(model.chunks(2))
    if not 1 <= count <= _MAX_GRAPHS:
        raise CorruptWeightsError(f"{origin} is not a SavedModel: it has {count} graphs")
    graphs = list(model.messages(2))
    tags = tuple(frozenset(graph.message(1).texts(4)) for graph in graphs)
    inference = graphs[min(range(len(graphs)), key=lambda i: "train" in tags[i])]
    signatures = _read_signatures(inference)
    training = next((_read_signatures(graph) for graph, tag in zip(graphs, tags, strict=True) if "train" in tag), {})
    size = _attached_size(inference) or _input_size(signatures, origin)
    return HubModuleInfo(size, tags, signatures, training)


def _read_signatures(graph: ParsedMessage) -> dict[str, Signature]:
    signatures = {}
    for entry in graph.messages(5):
        if not entry.text(1).startswith("__"):  # such as __saved_model_init_op
            value = entry.message(2)
            signatures[entry.text(1)] = Signature(_read_tensors(value, 1), _read_tensors(value, 2))
    return signatures


def _read_tensors(signature: ParsedMessage, field: int) -> dict[str, tuple[int | None, ...] | None]:
    tensors: dict[str, tuple[int | None, ...] | None] = {}
    for entry in signature.messages(field):
        shape = entry.message(2).message(3)
        sizes = [dim.signed(1) for dim in shape.messages(2)]
        tensors[entry.text(1)] = None if shape.number(3) else tuple(size if size >= 0 else None for size in sizes)
    return tensors


def _attached_size(graph: ParsedMessage) -> tuple[int, int] | None:
    for collection in graph.messages(4):
        if collection.text(1) != _ATTACHMENTS:
            continue
        for data in collection.message(2).message(2).chunks(1):
            attachment = ParsedMessage(data, graph.origin)
            if attachment.text(1) == "image_module_info":
                size = ParsedMessage((attachment.chunks(2) or [memoryview(b"")])[-1], graph.origin).message(1)
                return _checked_size(size.number(1), size.number(2), graph.origin)
    return None


def _input_size(signatures: Mapping[str, Signature], origin: str) -> tuple[int, int] | None:
    for signature in signatures.values():
        shape = signature.inputs.get("images")
        if shape and len(shape) == 4 and shape[1] and shape[2]:
            return _checked_size(shape[1], shape[2], origin)
    return None


def _checked_size(height: int, width: int, origin: str) -> tuple[int, int]:
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise CorruptWeightsError(f"{origin} is damaged: it states images of {height}x{width} pixels")
    return height, width


def read_constants(path: Path) -> LazyArrays:
    """Return the float32 constants of the graphs and their functions by name, without scalars; most files have none.

    Raises `CorruptWeightsError` for a damaged file, and for two constants with the same name.
    """
    file, origin = MappedFile(path), str(path)
    chunks: dict[str, tuple[ArrayShape, memoryview]] = {}
    for graph in ParsedMessage(file.bytes.data, origin).messages(2):
        definition = graph.message(2)
        nodes = definition.messages(1)
        library = (node for function in definition.message(2).messages(1) for node in function.messages(3))
        for node in (*nodes, *library):
            tensor = _constant(node) if node.text(2) == "Const" else None
            if tensor is None:
                continue
            if node.text(1) in chunks:
                raise CorruptWeightsError(f"{origin} has two constants named {node.text(1)}")
            chunks[node.text(1)] = tensor
    shapes = {name: shape for name, (shape, _) in chunks.items()}
    return LazyArrays(shapes, lambda name: np.frombuffer(chunks[name][1], "<f4").reshape(shapes[name]).copy())


def _constant(node: ParsedMessage) -> tuple[ArrayShape, memoryview] | None:
    """Return shape and bytes of a float32 constant; None for other types and scalars."""
    for attribute in node.messages(5):
        if attribute.text(1) != "value":
            continue
        tensor = attribute.message(2).message(8)
        shape = tuple(dim.signed(1) for dim in tensor.message(2).messages(2))
        if tensor.number(1) != _FLOAT or not shape or not tensor.chunks(4):
            return None
        content = tensor.chunks(4)[-1]
        if min(shape) < 1 or len(shape) > _MAX_RANK or prod(shape) * 4 != len(content):
            raise CorruptWeightsError(
                f"{node.origin} is damaged: {node.text(1)} claims the shape {shape[:_MAX_RANK]} in {len(content)} bytes"
            )
        return shape, content
    return None


def read_object_names(bundle: Bundle) -> dict[str, str] | None:
    """Map the variables' names of a TF2 checkpoint to the keys of their tensors.

    A tensor without a name in the object graph keeps its key. Returns None for TF1's checkpoints, which have no graph.

    Raises:
        CorruptWeightsError: the graph is damaged, or two tensors have the same name.
    """
    graph = bundle.read_string(OBJECT_GRAPH)
    if graph is None:
        return None
    named = {}
    for node in ParsedMessage(graph, f"the object graph of {bundle.origin}").messages(1):
        for attribute in node.messages(2):
            named[attribute.text(3)] = attribute.text(2).removesuffix(":0")
    names: dict[str, str] = {}
    for key in bundle.shapes:
        name = named.get(key) or key
        if name in names:
            raise CorruptWeightsError(f"{bundle.origin} has two tensors named {name}")
        names[name] = key
    return names
