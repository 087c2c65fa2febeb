"""The calls of the Open Inference Protocol over gRPC: from a request's bytes to its response or gRPC's error."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from .._version import __version__
from ..errors import PnasnetError
from ..support.text import clean, counted
from . import kserve
from .errors import ServeError
from .grpc_messages import INFERENCE, message
from .kserve import InputTensor
from .limits import ByteBudget
from .models import VERSION, Served
from .service import Service
from .tracing import fail

log = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
OK = grpc.StatusCode.OK
_OPEN = ("ServerLive", "ServerReady")
"""Calls that need no API key."""
_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    500: grpc.StatusCode.INTERNAL,
}
"""gRPC's status for each HTTP status; INVALID_ARGUMENT for all others."""

CallResult = tuple[Any, grpc.StatusCode, str]
"""A response (None after an error), gRPC's status, and the error's message."""
Handler = Callable[[Any, str], Awaitable[Any]]
"""Returns the response to a request; the second argument identifies its client."""
WaitForRoom = Callable[[Served, int], Awaitable[None]]
"""Waits until a model has room for a number of images."""


def unary_handler(service: Service, budget: ByteBudget, name: str, request_type: Any, call: Handler) -> Any:
    """Return a handler that checks the key, parses the request, runs `call`, and turns errors into gRPC's."""

    async def checked_call(raw: bytes, context: Any) -> Any:
        if name not in _OPEN:
            check_key(service, context)
        with budget.share() as share:
            share.take(len(raw))
            request = request_type()
            parse_into(request, raw)
            return await call(request, context.peer())

    async def handle(raw: bytes, context: Any) -> Any:
        response, code, text = await attempt(service, name, checked_call(raw, context), context)
        return response if code is OK else await context.abort(code, text)

    return handle


async def attempt(service: Service, name: str, work: Awaitable[Any], context: Any) -> CallResult:
    """Await `work`, and return its response, or the status and message of its error; count and trace the request."""
    if not service.tracing.on:
        return await _attempt(service, name, work)
    carrier = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    attributes = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": name}
    with service.tracing.request(f"{SERVICE}/{name}", carrier, attributes) as span:
        outcome = await _attempt(service, name, work)
        span.set_attribute("rpc.grpc.status_code", outcome[1].value[0])
        if outcome[1] is grpc.StatusCode.INTERNAL:
            fail(span, outcome[2])
    return outcome


async def _attempt(service: Service, name: str, work: Awaitable[Any]) -> CallResult:
    response, code, text = None, OK, ""
    try:
        response = await work
    except PnasnetError as error:
        status = getattr(error, "status", 400)
        code, text = _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), clean(str(error))
    except Exception:
        log.exception("%s failed", name)
        code, text = grpc.StatusCode.INTERNAL, "the server failed: see its log"
    service.metrics.answers.labels("grpc", code.name).inc()
    return response, code, text


def parse_into(request: Any, raw: bytes) -> None:
    """Parse the bytes of a message into `request`. Raises `ServeError`."""
    try:
        request.ParseFromString(raw)
    except DecodeError as error:
        raise ServeError("the request is not a message of this call") from error


def check_key(service: Service, context: Any) -> None:
    """Raise `ServeError` unless the call's metadata have an accepted API key."""
    given = dict(context.invocation_metadata() or ()).get("authorization")
    if not service.keys.accept(given if isinstance(given, str) else None):
        raise ServeError("the API key is missing or wrong: send the metadata authorization: Bearer KEY", 401)


def calls(service: Service) -> dict[str, Handler]:
    """Return the handlers of the inference service, by the name of the call."""

    def response(call: str, **fields: Any) -> Any:
        return message(INFERENCE, f"{call}Response")(**fields)

    async def server_live(request: Any, client: str) -> Any:
        return response("ServerLive", live=True)

    async def server_ready(request: Any, client: str) -> Any:
        return response("ServerReady", ready=not service.draining)

    async def model_ready(request: Any, client: str) -> Any:
        service.model(request.name, request.version)
        return response("ModelReady", ready=not service.draining)

    async def server_metadata(request: Any, client: str) -> Any:
        return response("ServerMetadata", name=kserve.SERVER, version=__version__)

    async def model_metadata(request: Any, client: str) -> Any:
        served = service.model(request.name, request.version)
        inputs, outputs = kserve.metadata(served)
        about = {"name": served.name, "versions": [VERSION], "platform": kserve.PLATFORM}
        return response("ModelMetadata", **about, inputs=inputs, outputs=outputs)

    async def model_infer(request: Any, client: str) -> Any:
        return await infer(service, request, client)

    return {
        "ServerLive": server_live,
        "ServerReady": server_ready,
        "ModelReady": model_ready,
        "ServerMetadata": server_metadata,
        "ModelMetadata": model_metadata,
        "ModelInfer": model_infer,
    }


async def infer(service: Service, request: Any, client: str, room: WaitForRoom | None = None) -> Any:
    """Return the response to a ModelInferRequest. `room` is awaited before the images are accepted or refused."""
    served = service.model(request.model_name, request.model_version)
    images = kserve.images_of(served, _tensors(request))
    endpoints = kserve.endpoints_of(served, [output.name for output in request.outputs])
    if room is not None:
        await room(served, len(images))
    arrays = await served.arrays(images, endpoints, client)
    return message(INFERENCE, "ModelInferResponse")(
        model_name=served.name,
        model_version=VERSION,
        id=request.id,
        outputs=[{"name": name, "datatype": "FP32", "shape": array.shape} for name, array in arrays.items()],
        raw_output_contents=[array.astype("<f4", copy=False).tobytes() for array in arrays.values()],
    )


def _tensors(request: Any) -> list[InputTensor]:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise ServeError(f"the request has {counted(len(request.inputs), 'input')}, but {len(raw)} raw contents")
    tensors = list[InputTensor]()
    for number, given in enumerate(request.inputs):
        data: bytes | list[bytes]
        if given.datatype == "BYTES":
            data = kserve.split_strings(raw[number]) if raw else list(given.contents.bytes_contents)
        else:
            data = raw[number] if raw else _floats(given.contents.fp32_contents)
        tensors.append(InputTensor(given.name, given.datatype, tuple(given.shape), data))
    return tensors


def _floats(numbers: Any) -> bytes:
    return np.fromiter(numbers, "<f4", len(numbers)).tobytes()
