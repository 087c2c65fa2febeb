"""Frozen SavedModels, written without TensorFlow.

A SavedModel describes the model twice. TensorFlow Serving and other readers of graphs use the MetaGraphDef's graph and
signatures. `tf.saved_model.load`, `hub.load` and `hub.KerasLayer` use its object graph, whose root can be called, and
require a checkpoint; here it has no variables. Both call the same function `network`, which stores the weights once.

Sources: TensorFlow's saved_model.proto, meta_graph.proto, saved_object_graph.proto, struct.proto,
trackable_object_graph.proto and tensor_bundle.proto; tensorflow_hub's "Reusable SavedModels".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..architecture.plan import Plan
from ..errors import OutputError
from ..support.files import replacing
from ..support.folders import replacing_folder
from ..support.protobuf import Message
from . import saved_model_objects as objects
from .folding import Weights
from .graphdef import Attribute, Body, FunctionName, Node, Type, lower
from .graphdef_messages import Dims, function, graph, shape_message
from .onnx_graph import INPUT
from .sstable_writer import write_object_graph

TAG = "serve"
FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
MAX_BYTES = 2**31 - 1
"""Size of the largest protocol buffer that TensorFlow parses."""

_NETWORK = "network"
_SAVER = ("saver_filename", "saver_save", "saver_restore")

SignatureOutputs = Mapping[str, Mapping[str, str]]
"""For each signature by name, the endpoint of each output by name."""


def export_saved_model(
    plan: Plan, weights: Weights, folder: Path, signatures: SignatureOutputs, *, overwrite: bool = False
) -> None:
    """Write a frozen SavedModel with the tag `serve`, whole or not at all. Equal arguments write equal bytes.

    Called as `hub.load(folder)(images, training=False, return_endpoints=False)`, it returns the output `default` of
    the signature `default`, or all outputs of that signature in a dict.

    Args:
        plan: the network.
        weights: TF-Slim's variable names to arrays in TensorFlow's layout.
        folder: the folder to write.
        signatures: the signatures; each has an output `default`, and one of them is called `default`.
        overwrite: whether to replace an existing SavedModel.

    Raises:
        OutputError: the folder exists, or cannot be written; or the weights exceed the 2 GiB of a protocol buffer.
    """
    model = _saved_model(_NetworkFunction.of(plan, weights), signatures)
    if model.size > MAX_BYTES:
        raise OutputError(
            f"cannot write {folder}: its {model.size:,} bytes exceed the {MAX_BYTES:,} that a SavedModel's graph may "
            "have; export as OpenVINO's .xml instead"
        )
    with replacing_folder(folder, FILES, overwrite=overwrite) as new:
        (new / "variables").mkdir()
        write_object_graph(new / "variables" / "variables", bytes(objects.trackable_objects(signatures)))
        with replacing(new / "saved_model.pb") as temporary, temporary.open("wb") as file:
            file.writelines(model.parts())


@dataclass(frozen=True)
class _NetworkFunction:
    """The function of the network: its body, and the shapes of its argument and its endpoints."""

    body: Body
    images: Dims
    shapes: Mapping[str, Dims]

    @classmethod
    def of(cls, plan: Plan, weights: Weights) -> "_NetworkFunction":
        shapes = {name: (-1, *shape) for name, shape in plan.endpoints().items()}
        return cls(lower(plan, weights), (-1, *plan.spec.image_size, 3), shapes)

    def call(self, name: str, argument: str) -> Node:
        """Return a node that computes all endpoints."""
        types: list[int] = [Type.FLOAT] * len(self.shapes)
        attributes: dict[str, Attribute] = {"f": FunctionName(_NETWORK), "Tin": [Type.FLOAT], "Tout": types}
        return Node(name, "PartitionedCall", (argument,), attributes)

    def index(self, endpoint: str) -> int:
        """Return the number of an endpoint among the outputs of a call."""
        return list(self.shapes).index(endpoint)

    def functions(self, signatures: SignatureOutputs) -> Iterator[Message]:
        """Yield the network, and the functions that return some of its endpoints."""
        argument = (INPUT, self.images)
        yield function(_NETWORK, argument, self.body.nodes, {name: self.body.endpoints[name] for name in self.shapes})
        for name, outputs in objects.functions(signatures):
            # TensorFlow flattens a structure in the order of its sorted keys.
            tensors = {key: f"{_NETWORK}:output:{self.index(outputs[key])}" for key in sorted(outputs)}
            yield function(name, argument, [self.call(_NETWORK, INPUT)], tensors)


def _saved_model(network: _NetworkFunction, signatures: SignatureOutputs) -> Message:
    filename, save, restore = _SAVER
    nodes = [
        Node(INPUT, "Placeholder", (), {"dtype": Type.FLOAT, "shape": network.images}),
        network.call(_NETWORK, INPUT),
        # There is nothing to restore, but loaders require a saver if there is a checkpoint.
        Node(filename, "Placeholder", (), {"dtype": Type.STRING, "shape": ()}),
        Node(save, "Identity", (filename,), {"T": Type.STRING}),
        Node(restore, "NoOp"),
    ]
    info = Message().text(4, TAG).number(7, True)
    saver = Message().text(1, f"{filename}:0").text(2, f"{save}:0").text(3, restore).number(7, 2)
    meta = Message().data(1, info).data(2, graph(nodes, list(network.functions(signatures)))).data(3, saver)
    for name, outputs in sorted(signatures.items()):
        meta.entry(5, name, _signature(network, outputs))
    meta.data(7, objects.saved_objects(signatures, (INPUT, network.images), network.shapes))
    return Message().number(1, 1).data(2, meta)


def _signature(network: _NetworkFunction, outputs: Mapping[str, str]) -> Message:
    """Return a SignatureDef."""
    message = Message().entry(1, INPUT, _tensor_info(f"{INPUT}:0", network.images))
    for name, endpoint in sorted(outputs.items()):
        tensor = f"{_NETWORK}:{network.index(endpoint)}"
        message.entry(2, name, _tensor_info(tensor, network.shapes[endpoint]))
    return message.text(3, "tensorflow/serving/predict")


def _tensor_info(tensor: str, dims: Dims) -> Message:
    return Message().text(1, tensor).number(2, Type.FLOAT).data(3, shape_message(dims))
