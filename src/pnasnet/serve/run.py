"""The process of a server: its sockets, its signals and its end."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvloop import new_event_loop

from ..errors import InputError, OutputError
from ..support.text import counted
from ..support.typed import convert_fields
from .grpc_v2 import start_grpc
from .listening import MOST_HEADER_BYTES, protocol
from .service import Service

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Address:
    """Where the server listens, and how long it takes to end."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 for any free port."""
    grpc_port: int | None = 8001
    """Likewise; None for no gRPC."""
    drain: float = 5.0
    """Seconds for accepted requests after a signal."""

    def __post_init__(self) -> None:
        convert_fields(self, port=0, grpc_port=0, drain=0)
        if not self.host:
            raise InputError("host must be an address, such as 127.0.0.1, or 0.0.0.0 for all of this machine")
        if self.port and self.port == self.grpc_port:
            raise InputError(f"HTTP and gRPC cannot share port {self.port}: choose another --port or --grpc-port")


class HttpServer(uvicorn.Server):
    """uvicorn with the limits of a service, and without signal handlers of its own."""

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
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                timeout_graceful_shutdown=1,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller."""
        yield


def run(service: Service, app: ASGIApp, address: Address) -> bool:
    """Serve until SIGINT or SIGTERM; return whether all accepted requests were answered.

    The first signal turns readiness off and refuses new images; accepted requests are answered, for up to
    `address.drain` seconds. A second signal, or one before the server has started, ends the process at once.

    Raises `OutputError` if the port cannot be listened on.
    """
    with listen(address.host, address.port) as listener:
        if address.grpc_port is not None:  # gRPC's library prints lines of its own if it cannot listen
            listen(address.host, address.grpc_port, "grpc-port").close()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(_serve(service, app, address, listener))


async def _serve(service: Service, app: ASGIApp, address: Address, listener: socket.socket) -> bool:
    server, asked = HttpServer(service, app), asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        if not server.started:  # nothing is accepted yet, and engines that are being compiled cannot be stopped
            os._exit(128 + number)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
            signal.signal(each, lambda number, frame: os._exit(128 + number))
        log.info("signal %d: answering %s before the end", number, counted(service.accepted, "accepted image"))
        service.drain()
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask, number)
    running = asyncio.create_task(server.serve([listener]))
    while not server.started and not running.done():
        await asyncio.sleep(_LOOK_SECONDS)
    gc.collect()
    gc.freeze()  # the garbage collector walks through all modules and models otherwise: a seventh of the loop's time
    calls = await _start_grpc(service, server, running, address, listener.getsockname()[1])
    stopping = asyncio.create_task(asked.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    if running.done():  # it could not start
        await running
        return False
    end = loop.time() + address.drain
    if calls is not None:
        stopped = asyncio.create_task(calls.stop(address.drain))
    while service.accepted and loop.time() < end:
        await asyncio.sleep(_LOOK_SECONDS)
    if left := service.accepted:
        verb = "was" if left == 1 else "were"
        log.warning("%s %s not answered within %g s", counted(left, "accepted image"), verb, address.drain)
        os._exit(1)  # threads of the engine cannot be stopped
    if calls is not None:
        await stopped
    server.config.timeout_graceful_shutdown = max(1, int(end - loop.time()))
    server.should_exit = True
    await running
    return True


async def _start_grpc(
    service: Service, server: HttpServer, running: "asyncio.Task[None]", address: Address, port: int
) -> Any | None:
    """Start gRPC, unless HTTP, and with it the service, could not start; log where both listen."""
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
    """Return a socket bound to an address. Raises `OutputError` if that is not possible, with the option to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm, which costs 40 ms an answer, only where the protocol is named.
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
