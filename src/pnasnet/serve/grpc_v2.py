"""The gRPC server: the Open Inference Protocol, and gRPC's health checks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from ..errors import OutputError
from .grpc_calls import SERVICE, calls, unary_handler
from .grpc_messages import HEALTH, INFERENCE, message
from .grpc_stream import stream_handler
from .limits import ByteBudget
from .service import Service

_HEALTH_SERVICE = "grpc.health.v1.Health"
_POLL_SECONDS = 0.2
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3


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
    budget = ByteBudget(service.limits.bodies)
    handlers = {}
    for name, call in calls(service).items():
        request_type = message(INFERENCE, f"{name}Request")
        handlers[name] = grpc.unary_unary_rpc_method_handler(
            unary_handler(service, budget, name, request_type, call), response_serializer=_serialize
        )
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
        stream_handler(service, budget), response_serializer=_serialize
    )
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _serialize(response: Any) -> bytes:
    data: bytes = response.SerializeToString()
    return data


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
            draining = service.draining  # read before the status, so that the final status is reported
            if (now := status(name)) != last:
                yield response_type(status=now)
                last = now
            if draining:  # an open call would delay the shutdown
                return
            await asyncio.sleep(_POLL_SECONDS)

    return grpc.method_handlers_generic_handler(
        _HEALTH_SERVICE,
        {
            "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=_serialize),
            "Watch": grpc.unary_stream_rpc_method_handler(watch, response_serializer=_serialize),
        },
    )
