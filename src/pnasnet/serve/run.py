"""The server's process: its sockets, its signals and its shutdown."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager  # noqa: TID251  # uvicorn states this type
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvloop import new_event_loop

from ..errors import InputError, OutputError
from ..support.text import counted
from ..support.typed import convert_fields
from .grpc_v2 import start_grpc
from .listening import MAX_HEADER_BYTES, protocol
from .service import Service

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Address:
    """Where the server listens, and how long it waits at shutdown. Raises `InputError` for values out of range."""

    host: str = "127.0.0.1"
    port: int = 8000
    """Port of HTTP; 0 for any free port."""
    grpc_port: int | None = 8001
    """Port of gRPC; 0 for any free port, None for no gRPC."""
    drain: float = 5.0
    """Seconds that accepted requests have after a signal."""

    def __post_init__(self) -> None:
        convert_fields(self, port=0, grpc_port=0, drain=0)
        if not self.host:
            raise InputError("host must be an address, such as 127.0.0.1, or 0.0.0.0 for all of this machine")
        if self.port and self.port == self.grpc_port:
            raise InputError(f"HTTP and gRPC cannot share port {self.port}: choose another --port or --grpc-port")


class HttpServer(uvicorn.Server):
    """A uvicorn server with the limits of a service, and without uvicorn's signal handlers."""

    def __init__(self, service: Service, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol(service.limits.header_seconds),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                timeout_graceful_shutdown=1,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller."""
        yield


def run(service: Service, app: ASGIApp, address: Address) -> bool:
    """Serve until SIGINT or SIGTERM; return whether all accepted requests were answered.

    After the first signal, the server reports that it is not ready, refuses new images, and answers accepted requests
    for up to `address.drain` seconds. A second signal, or one before the server has started, ends the process at once.

    Raises `OutputError` if a port cannot be listened on.
    """
    with listen(address.host, address.port) as listener:
        if address.grpc_port is not None:  # gRPC's library prints lines of its own if it cannot listen
            listen(address.host, address.grpc_port, "grpc-port").close()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(_serve(service, app, address, listener))


async def _serve(service: Service, app: ASGIApp, address: Address, listener: socket.socket) -> bool:
    server, stop = HttpServer(service, app), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if not server.started:  # nothing is accepted yet, and compiling an engine cannot be interrupted
            os._exit(128 + number)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
            signal.signal(each, lambda number, frame: os._exit(128 + number))
        log.info("signal %d: answering %s, then stopping", number, counted(service.accepted, "accepted image"))
        service.drain()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    running = asyncio.create_task(server.serve([listener]))
    while not server.started and not running.done():
        await asyncio.sleep(_POLL_SECONDS)
    gc.collect()
    gc.freeze()  # without it, collections walk through all modules and models: up to a seventh of the loop's time
    calls = await _start_grpc(service, server, running, address, listener.getsockname()[1])
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    if running.done():  # the server could not start
        await running
        return False
    deadline = loop.time() + address.drain
    if calls is not None:
        stopped = asyncio.create_task(calls.stop(address.drain))
    while service.accepted and loop.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    if left := service.accepted:
        verb = "was" if left == 1 else "were"
        log.warning("%s %s not answered within %g s", counted(left, "accepted image"), verb, address.drain)
        os._exit(1)  # the engines' threads cannot be interrupted
    if calls is not None:
        await stopped
    server.config.timeout_graceful_shutdown = max(1, int(deadline - loop.time()))
    server.should_exit = True
    await running
    return True


async def _start_grpc(
    service: Service, server: HttpServer, running: "asyncio.Task[None]", address: Address, port: int
) -> Any | None:
    """Start gRPC unless HTTP could not start, and log both addresses; return the gRPC server, if there is one."""
    if running.done():
        return None
    calls = grpc_port = None
    try:
        if address.grpc_port is not None:
            calls, grpc_port = await start_grpc(service, address.host, address.grpc_port)
    except BaseException:
        server.should_exit = True
        await running
        raise
    host = f"[{address.host}]" if ":" in address.host else address.host
    log.info("listening on http://%s:%d", host, port)
    if calls is not None:
        log.info("listening on %s:%d for gRPC", host, grpc_port)
    return calls


def listen(host: str, port: int, option: str = "port") -> socket.socket:
    """Return a TCP socket bound to an address. Raises `OutputError`, which names the option to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm, which delays responses by 40 ms, only if the socket's protocol is explicit.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = f"choose another --{option if taken else 'host'}"
        raise OutputError(f"cannot listen on {host}:{port}: {error.strerror}; {hint}") from error
    return listener
