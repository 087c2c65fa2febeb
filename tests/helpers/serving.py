"""Live servers, in a thread of the test's process or in a process of their own."""

import asyncio
import io
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from pnasnet import Module
from pnasnet.errors import PnasnetError
from pnasnet.serve import Service, create_app
from pnasnet.serve.grpc_v2 import start_grpc
from pnasnet.serve.run import HttpServer, listen

from tests.helpers.waiting import until

CHECKPOINT = Path(__file__).parents[1] / "checkpoints/tiny_hub_tf1"
"""A module with 64x64 images and 160 features; the fake engine returns their mean colours."""


@dataclass(frozen=True)
class Live:
    """A server that is running."""

    service: Service
    port: int
    grpc_port: int

    @property
    def url(self) -> str:
        """Where HTTP is."""
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, **arguments: object) -> requests.Response:
        """Send a request on a connection of its own."""
        return requests.post(self.url + path, timeout=30, **arguments)


@contextmanager
def live(service: Service, *, allow_origins: tuple[str, ...] = ()) -> Iterator[Live]:
    """Within the block, serve HTTP and gRPC on free ports."""
    ports = list[int]()

    async def run(server: HttpServer, listener: socket.socket) -> None:
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.005)
        calls, port = await start_grpc(service, "127.0.0.1", 0)
        ports.append(port)
        await serving
        await calls.stop(0)

    with listen("127.0.0.1", 0) as listener:
        server = HttpServer(service, create_app(service, allow_origins=allow_origins))
        thread = threading.Thread(target=lambda: asyncio.run(run(server, listener)))
        thread.start()
        try:
            until(lambda: bool(ports) or not thread.is_alive())
            yield Live(service, listener.getsockname()[1], ports[0])
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def fake_module() -> Module:
    """Return a module whose engine is instant."""
    return Module(str(CHECKPOINT), engine="fake")


def fake_models() -> Mapping[str, Module]:
    """Return one such module, by name."""
    return {"tiny": fake_module()}


class ServerProcess:
    """`pnasnet serve` with an instant engine, in a process of its own, whose log is a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process, self._log = process, log
        until(lambda: "for gRPC" in self.log() or process.poll() is not None)
        found = re.search(r"http://127.0.0.1:(\d+)\n.*127.0.0.1:(\d+) for gRPC", self.log())
        assert found, self.log()
        self.port, self.grpc_port = int(found[1]), int(found[2])
        self.url = f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def memory(self) -> int:
        """The bytes of memory that it uses now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self._process.terminate()
        return self._process.wait(60)


@contextmanager
def server_process(folder: Path, *options: str) -> Iterator[ServerProcess]:
    """Within the block, serve `CHECKPOINT` on free ports."""
    command = [sys.executable, "-m", "pnasnet", "serve", str(CHECKPOINT), "--engine", "fake", "--port", "0"]
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--grpc-port", "0", *options], stderr=file)
        try:
            yield ServerProcess(process, log)
        finally:
            process.kill()
            process.wait(60)


class Blocked:
    """An engine that waits; `fail` makes its next batch raise."""

    def __init__(self, service: Service) -> None:
        self.gate, self.fail = threading.Event(), False
        (served,) = service.models.values()
        self._run, served.batcher._run = served.batcher._run, self
        self.entered = threading.Event()
        """Set once it has a batch; an image that is accepted may still be decoded."""

    def __call__(self, images: Any, endpoint: str) -> Any:
        self.entered.set()
        assert self.gate.wait(60)
        if self.fail:
            self.fail = False
            raise PnasnetError("no memory")
        return self._run(images, endpoint)


def encoded(seed: int = 0, *, size: tuple[int, int] = (40, 50), kind: str = "PNG") -> bytes:
    """Return a small encoded image of noise."""
    file = io.BytesIO()
    Image.fromarray(pixels(seed, size)).save(file, kind)
    return file.getvalue()


def pixels(seed: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return noise, uint8 [*size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
