"""The Open Inference Protocol and gRPC's health checks over gRPC."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from .._version import __version__
from ..errors import OutputError, PnasnetError
from ..support.text import clean
from . import kserve
from .errors import ServeError
from .grpc_messages import HEALTH, INFERENCE, message
from .kserve import Tensor
from .limits import Budget
from .models import VERSION
from .service import Service

log = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
_HEALTH_SERVICE = "grpc.health.v1.Health"
_OPEN = ("ServerLive", "ServerReady")
"""Calls that need no API key."""
_LOOK_SECONDS = 0.2
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    500: grpc.StatusCode.INTERNAL,
}
"""gRPC's status for an HTTP status; for any other it is INVALID_ARGUMENT."""

Call = Callable[[Any, str], Awaitable[Any]]
"""From a request and what stands for its client to the answer."""


async def start_grpc(service: Service, host: str, port: int) -> tuple[Any, int]:
    """Start a gRPC server; return it with its port. Raises `OutputError` if the port cannot be listened on."""
    most = service.limits.body
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", most),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
    )
    server.add_generic_rpc_handlers((_inference(service), _health(service)))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OutputError(f"cannot listen on {address} for gRPC: choose another --grpc-port") from error
    await server.start()
    return server, bound


def _inference(service: Service) -> Any:
    budget = Budget(service.limits.bodies)
    handlers = {}
    for name, call in _calls(service).items():
        request_type = message(INFERENCE, f"{name}Request")
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            _handler(service, budget, name, request_type, call), response_serializer=_serialize
        )
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _handler(service: Service, budget: Budget, name: str, request_type: Any, call: Call) -> Any:
    """Return a handler that checks the key, parses the request, and turns errors into gRPC's."""

    async def handle(raw: bytes, context: Any) -> Any:
        answers, code, text = service.metrics.answers, grpc.StatusCode.INTERNAL, "the server failed: its log says why"
        try:
            if name not in _OPEN:
                _check_key(service, context)
            with budget.share() as share:
                share.take(len(raw))
                try:
                    request = request_type.FromString(raw)
                except DecodeError as error:
                    raise ServeError("the request is not a message of this call") from error
                answer = await call(request, context.peer())
        except PnasnetError as error:
            status = getattr(error, "status", 400)
            code, text = _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), clean(str(error))
        except Exception:
            log.exception("%s failed", name)
        else:
            answers.labels("grpc", "OK").inc()
            return answer
        answers.labels("grpc", code.name).inc()
        return await context.abort(code, text)

    return handle


def _serialize(answer: Any) -> bytes:
    data: bytes = answer.SerializeToString()
    return data


def _check_key(service: Service, context: Any) -> None:
    given = dict(context.invocation_metadata() or ()).get("authorization")
    if not service.keys.accept(given if isinstance(given, str) else None):
        raise ServeError("the API key is missing or wrong: send the metadata authorization: Bearer KEY", 401)


def _calls(service: Service) -> dict[str, Call]:
    """Return the calls of the inference service by name."""

    def answer(call: str, **fields: Any) -> Any:
        return message(INFERENCE, f"{call}Response")(**fields)

    async def server_live(request: Any, client: str) -> Any:
        return answer("ServerLive", live=True)

    async def server_ready(request: Any, client: str) -> Any:
        return answer("ServerReady", ready=not service.draining)

    async def model_ready(request: Any, client: str) -> Any:
        service.model(request.name, request.version)
        return answer("ModelReady", ready=not service.draining)

    async def server_metadata(request: Any, client: str) -> Any:
        return answer("ServerMetadata", name=kserve.SERVER, version=__version__)

    async def model_metadata(request: Any, client: str) -> Any:
        served = service.model(request.name, request.version)
        inputs, outputs = kserve.metadata(served)
        about = {"name": served.name, "versions": [VERSION], "platform": kserve.PLATFORM}
        return answer("ModelMetadata", **about, inputs=inputs, outputs=outputs)

    async def model_infer(request: Any, client: str) -> Any:
        served = service.model(request.model_name, request.model_version)
        pictures = kserve.pictures_of(served, _tensors(request))
        endpoints = kserve.endpoints_of(served, [output.name for output in request.outputs])
        arrays = await served.arrays(pictures, endpoints, client)
        return answer(
            "ModelInfer",
            model_name=served.name,
            model_version=VERSION,
            id=request.id,
            outputs=[{"name": name, "datatype": "FP32", "shape": array.shape} for name, array in arrays.items()],
            raw_output_contents=[array.astype("<f4", copy=False).tobytes() for array in arrays.values()],
        )

    return {
        "ServerLive": server_live,
        "ServerReady": server_ready,
        "ModelReady": model_ready,
        "ServerMetadata": server_metadata,
        "ModelMetadata": model_metadata,
        "ModelInfer": model_infer,
    }


def _tensors(request: Any) -> list[Tensor]:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise ServeError(f"the request has {len(request.inputs)} inputs, but {len(raw)} raw contents")
    tensors = list[Tensor]()
    for number, given in enumerate(request.inputs):
        data: bytes | list[bytes]
        if given.datatype == "BYTES":
            data = kserve.split_strings(raw[number]) if raw else list(given.contents.bytes_contents)
        else:
            data = raw[number] if raw else _floats(given.contents.fp32_contents)
        tensors.append(Tensor(given.name, given.datatype, tuple(given.shape), data))
    return tensors


def _floats(numbers: Any) -> bytes:
    return np.fromiter(numbers, "<f4", len(numbers)).tobytes()


def _health(service: Service) -> Any:
    request_type, response_type = message(HEALTH, "HealthCheckRequest"), message(HEALTH, "HealthCheckResponse")

    def status(name: str) -> int:
        if name not in ("", SERVICE):
            return _SERVICE_UNKNOWN
        return _NOT_SERVING if service.draining else _SERVING

    async def parse(raw: bytes, context: Any) -> str:
        try:
            name: str = request_type.FromString(raw).service
        except DecodeError:
            return str(await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not a HealthCheckRequest"))
        return name

    async def check(raw: bytes, context: Any) -> Any:
        found = status(await parse(raw, context))
        if found == _SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no such service: ask for {SERVICE}")
        return response_type(status=found)

    async def watch(raw: bytes, context: Any) -> AsyncIterator[Any]:
        name, last = await parse(raw, context), None
        while True:
            draining = service.draining  # asked before the status, so that the last one is reported
            if (now := status(name)) != last:
                yield response_type(status=now)
                last = now
            if draining:  # else this call would hold up the end
                return
            await asyncio.sleep(_LOOK_SECONDS)

    return grpc.method_handlers_generic_handler(
        _HEALTH_SERVICE,
        {
            "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=_serialize),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, response_serializer=_serialize),
        },
    )
