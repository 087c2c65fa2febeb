"""The process of a server: how it starts, and how it ends."""

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton

from pnasnet.serve.settings import Settings

from tests.helpers.cli_runs import error_of, run
from tests.helpers.serving import CHECKPOINT, encoded
from tests.helpers.waiting import until

SLOW = """
import gc, sys, time
from pathlib import Path
from pnasnet.engines.fake import FakeEngine
compute = FakeEngine._run
def slow(self, images):
    print(gc.get_freeze_count(), "objects are frozen", file=sys.stderr, flush=True)
    end = time.monotonic() + 300
    while not Path(sys.argv[1]).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return compute(self, images)
FakeEngine._run = slow
from pnasnet.cli import main
main(["serve", *sys.argv[2:]])
"""
"""`pnasnet serve` with an engine that waits for a file."""


class Process:
    """A server in a process of its own, whose engine waits for a file."""

    def __init__(self, process: "subprocess.Popen[str]", log: IO[str]) -> None:
        self.process, self._log, self.lines = process, log, list[str]()
        self.port = int(self._line(r"listening on http://127.0.0.1:(\d+)"))
        self.grpc_port = int(self._line(r"listening on 127.0.0.1:(\d+) for gRPC"))

    def _line(self, pattern: str) -> str:
        for line in self._log:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(self.lines)

    def post(self) -> requests.Response:
        return requests.post(f"http://127.0.0.1:{self.port}/embed", data=encoded(), timeout=60)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def call(self) -> tuple[int, ...]:
        with triton.InferenceServerClient(f"127.0.0.1:{self.grpc_port}") as client:
            given = triton.InferInput("image_bytes", [1], "BYTES")
            given.set_data_from_numpy(np.array([encoded()], np.object_))
            answer = client.infer(
                "tiny_hub_tf1", [given], outputs=[triton.InferRequestedOutput("global_pool")], client_timeout=60
            )
            shape: tuple[int, ...] = answer.as_numpy("global_pool").shape
            return shape

    def accepted(self) -> int:
        found = re.search(r'pnasnet_queue_images{model="tiny_hub_tf1"} (\d+)', self.get("/metrics").text)
        return int(found[1]) if found else -1

    def rest(self) -> str:
        return "".join([*self.lines, self._log.read()])


@contextmanager
def serving(go: Path, *options: str) -> Iterator[Process]:
    arguments = [str(CHECKPOINT), "--engine", "fake", "--port", "0", "--grpc-port", "0", *options]
    command = [sys.executable, "-c", SLOW, str(go), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        late = threading.Timer(300, process.kill)
        late.start()
        try:
            assert process.stderr is not None
            yield Process(process, process.stderr)
        finally:
            late.cancel()
            process.kill()


def test_a_signal_under_load_loses_no_accepted_request(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with serving(go, "--batch-size", "2", "--drain", "120") as server, ThreadPoolExecutor(9) as pool:
        posted = [pool.submit(server.post) for _ in range(8)]
        called = pool.submit(server.call)
        until(lambda: server.accepted() == 9)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/v2/health/ready").status_code == 503)
        refused = server.post()
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert server.accepted() == 9
        go.touch()
        assert [each.result(60).status_code for each in posted] == [200] * 8
        assert called.result(60) == (1, 160)
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.rest()


def test_garbage_collection_passes_over_what_was_loaded(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.touch()
    with serving(go) as server:
        assert server.post().status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        found = re.search(r"(\d+) objects are frozen", server.rest())
    assert found is not None
    assert int(found[1]) > 10_000


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "go", "--drain", "300") as server, ThreadPoolExecutor(1) as pool:
        posted = pool.submit(server.post)
        until(lambda: server.accepted() == 1)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/healthz").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 128 + signal.SIGTERM
        assert isinstance(posted.exception(), requests.ConnectionError)


def test_it_ends_when_the_time_for_answers_is_over(tmp_path: Path) -> None:
    with serving(tmp_path / "go", "--drain", "0.5") as server, ThreadPoolExecutor(1) as pool:
        posted = pool.submit(server.post)
        until(lambda: server.accepted() == 1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
        assert "1 accepted image was not answered within 0.5 s" in server.rest()
        assert isinstance(posted.exception(), requests.ConnectionError)


@pytest.mark.parametrize(("option", "other"), [("--port", "--grpc-port"), ("--grpc-port", "--port")])
def test_a_port_that_is_taken(option: str, other: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ("serve", str(CHECKPOINT), "--engine", "fake", option, str(port), other, "0")
        done = subprocess.run(  # a process: gRPC's library writes past Python's streams
            [sys.executable, "-m", "pnasnet", *arguments], capture_output=True, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another {option}"
    )
    assert "listening" not in done.stderr
    assert "chttp2" not in done.stderr


def test_an_address_of_another_machine() -> None:
    result = run("serve", CHECKPOINT, "--engine", "fake", "--host", "192.0.2.1")
    assert error_of(result) == "cannot listen on 192.0.2.1:8000: Cannot assign requested address; choose another --host"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((CHECKPOINT, CHECKPOINT), "tiny_hub_tf1 is named twice: name it once"),
        (
            (CHECKPOINT, "--api-key-file", "/nowhere"),
            "cannot read the API keys in /nowhere: No such file or directory; name a file with one key per line",
        ),
        ((CHECKPOINT, "--host", "", "--port", "0"), "--host must be an address, such as 127.0.0.1, or 0.0.0.0 for all"),
        ((CHECKPOINT, "--port", "8001"), "HTTP and gRPC cannot share port 8001: choose another --port or --grpc-port"),
        ((CHECKPOINT, "--features", "/nowhere"), "/nowhere"),
        ((CHECKPOINT, "--allow-url-host", "http://a.example"), "'http://a.example' is not a host: write its name"),
        ((CHECKPOINT, "--allow-url-host", "a.example:80"), "'a.example:80' is not a host: write its name or address"),
        ((CHECKPOINT, "--allow-url-host", ""), "'' is not a host"),
        ((CHECKPOINT, "--allow-origin", "a.example"), "'a.example' is not an origin: write scheme and host, such as"),
        ((CHECKPOINT, "--allow-origin", "https://a.example/"), "'https://a.example/' is not an origin"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], error: str) -> None:
    usage = {"--port", "--allow-url-host", "--allow-origin"} & set(arguments)
    assert error in error_of(run("serve", *arguments, "--engine", "fake"), 2 if usage else 1)


def test_hosts_and_origins_as_they_are_written() -> None:
    Settings((str(CHECKPOINT),), url_hosts=("127.0.0.1", "::1", "Images.Example", "bücher.example"))
    Settings((str(CHECKPOINT),), origins=("*", "https://a.example", "http://localhost:3000", "chrome-extension://abc"))
    service, _ = Settings((str(CHECKPOINT),), url_hosts=("Images.Example",)).open()
    assert service.references._hosts == {"images.example"}


STARTING = """
import os, sys, time
from pathlib import Path
if sys.argv[2] == "first":
    os.getpid = lambda: 1
from pnasnet.serve import models
def load(*given):
    Path(sys.argv[1]).touch()
    time.sleep(300)
if sys.argv[3] == "open":
    models.open_models = load
else:
    models.Served.load = load
from pnasnet.cli import main
main(["serve", *sys.argv[4:]])
"""
"""`pnasnet serve` with models that take long to open, or engines that take long to load."""


@pytest.mark.parametrize("which", ["first", "other"])
@pytest.mark.parametrize("work", ["open", "load"])
def test_a_signal_ends_a_server_that_is_starting(tmp_path: Path, which: str, work: str) -> None:
    """The first process of a container needs a handler: the kernel does not end it otherwise."""
    loading, log = tmp_path / "loading", tmp_path / "log"
    arguments = [str(loading), which, work, str(CHECKPOINT), "--engine", "fake", "--port", "0", "--grpc-port", "0"]
    with log.open("wb") as file, subprocess.Popen([sys.executable, "-c", STARTING, *arguments], stderr=file) as process:
        try:
            until(lambda: loading.exists() or process.poll() is not None)
            process.send_signal(signal.SIGTERM)
            ended = process.wait(60)
        finally:
            process.kill()
    by_handler = which == "first" or work == "load"
    assert ended == (128 + signal.SIGTERM if by_handler else -signal.SIGTERM), log.read_text()
    assert "Traceback" not in log.read_text()
