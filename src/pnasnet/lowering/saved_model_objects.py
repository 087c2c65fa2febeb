"""The object graph of a SavedModel: a root that can be called, and its signatures.

Sources: TensorFlow's saved_object_graph.proto, struct.proto and trackable_object_graph.proto.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..support.protobuf import Message
from .graphdef import Type
from .graphdef_messages import Dims, shape_message

OutputTensors = Mapping[str, str]
OutputShapes = Mapping[str, Dims]

CALL, CALL_ENDPOINTS = "call", "call_with_endpoints"
_ARGUMENTS = ("training", "return_endpoints")
_ROOT_CALL, _SIGNATURES, _FIRST = 1, 2, 3
"""Numbers of the objects: 0 is the root, then come its function, the map of signatures, and each signature."""

_NONE = Message().data(1, Message())


def functions(signatures: Mapping[str, OutputTensors]) -> Iterator[tuple[str, OutputTensors]]:
    """Yield the name of each function that the objects refer to, and its outputs."""
    default = signatures["default"]
    yield CALL, {"default": default["default"]}
    yield CALL_ENDPOINTS, default
    for name, outputs in sorted(signatures.items()):
        yield _of_signature(name), outputs


def _of_signature(name: str) -> str:
    return f"signature_{name}"


def saved_objects(signatures: Mapping[str, OutputTensors], images: tuple[str, Dims], shapes: OutputShapes) -> Message:
    """Return a SavedObjectGraph.

    Args:
        signatures: for each signature by name, the endpoint of each output by name.
        images: name and shape of the argument.
        shapes: the shape of each endpoint.
    """
    argument = images[0]
    root = _references(signatures, 0).data(4, _user_object("_generic_user_object"))
    called = Message().text(1, CALL, CALL_ENDPOINTS).data(2, _spec((argument, *_ARGUMENTS), defaults=True))
    message = Message().data(1, root, Message().data(6, called))
    message.data(1, _references(signatures, _SIGNATURES).data(4, _user_object("signature_map")))
    for name in sorted(signatures):
        bare = Message().text(1, _of_signature(name)).text(2, argument).number(3, 1)
        bare.data(4, _spec((), keywords=(argument,)))
        message.data(1, Message().data(8, bare))
    tensor = _tensor(argument, images[1])
    for name, outputs in functions(signatures):
        if name in (CALL, CALL_ENDPOINTS):
            given = [tensor, _bool(False), _bool(name == CALL_ENDPOINTS)]
            inputs = _tuple(_tuple(*given), _dict({}))
        else:
            inputs = _tuple(_tuple(), _dict({argument: tensor}))
        specs = {key: _tensor(key, shapes[endpoint]) for key, endpoint in outputs.items()}
        result = specs["default"] if name == CALL else _dict(specs)
        message.entry(2, name, Message().data(3, inputs).data(4, result))
    return message


def trackable_objects(signatures: Mapping[str, OutputTensors]) -> Message:
    """Return the TrackableObjectGraph of a checkpoint without variables, with the same objects."""
    return Message().data(1, *(_references(signatures, number) for number in range(_FIRST + len(signatures))))


def _references(signatures: Mapping[str, OutputTensors], number: int) -> Message:
    """Return an object with its children, whose fields are the same in both kinds of graph."""
    children: dict[str, int] = {}
    if number == 0:
        # Keras's TFSMLayer calls `serve` unless told otherwise.
        children = {"__call__": _ROOT_CALL, "serve": _ROOT_CALL, "signatures": _SIGNATURES}
    elif number == _SIGNATURES:
        children = {name: _FIRST + index for index, name in enumerate(sorted(signatures))}
    return Message().data(1, *(Message().number(1, child).text(2, name) for name, child in children.items()))


def _user_object(identifier: str) -> Message:
    return Message().text(1, identifier).data(2, Message().number(1, 1).number(2, 1))


def _spec(positional: Sequence[str], *, keywords: Sequence[str] = (), defaults: bool = False) -> Message:
    """Return a FunctionSpec: Python's `inspect.FullArgSpec` of a function whose options are False by default."""
    fields = {
        "args": _list(map(_text, positional)),
        "varargs": _NONE,
        "varkw": _NONE,
        "defaults": _tuple(*(_bool(False) for _ in _ARGUMENTS)) if defaults else _NONE,
        "kwonlyargs": _list(map(_text, keywords)),
        "kwonlydefaults": _NONE,
        "annotations": _dict({}),
    }
    pairs = (Message().text(1, name).data(2, value) for name, value in fields.items())
    named = Message().data(54, Message().text(1, "FullArgSpec").data(2, *pairs))
    return Message().data(1, named).data(5, _NONE)


# StructuredValues.


def _text(value: str) -> Message:
    return Message().text(13, value)


def _bool(value: bool) -> Message:
    return Message().number(14, value)


def _tensor(name: str, dims: Dims) -> Message:
    return Message().data(33, Message().text(1, name).data(2, shape_message(dims)).number(3, Type.FLOAT))


def _list(values: Iterable[Message]) -> Message:
    return Message().data(51, Message().data(1, *values))


def _tuple(*values: Message) -> Message:
    return Message().data(52, Message().data(1, *values))


def _dict(values: Mapping[str, Message]) -> Message:
    fields = Message()
    for key, value in sorted(values.items()):
        fields.entry(1, key, value)
    return Message().data(53, fields)
