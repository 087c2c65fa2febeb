"""What `pnasnet serve` adds to decoding and the network.

Command:  python benchmarks/serve.py [--model pnasnet_tiny] [--seconds 10] [--source FOLDER]
Method:   One run: decoding and the engine alone on the same JPEG photo, in this process, by CPU seconds and by the
          clock; then a server of the same model in a process of its own, asked over kept connections: one client for
          the delay, 64 for the rate. At last the same model by the fake engine, which computes mean colours, is sent
          pixels by the Open Inference Protocol's binary extension: what the server alone costs. The load comes from
          `wrk` if it is installed, else from a process of Python; either shares the machine's cores with the server.
          `--source FOLDER` serves the package in that folder instead, to compare two versions on one machine.
Result:   see docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pnasnet import Module
from pnasnet.images import preprocess

from common import machine

PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "coffee.jpg"
CLIENTS = 64
CORES = len(os.sched_getaffinity(0))


@contextmanager
def served(source: str | None, *arguments: str) -> Iterator[int]:
    """Serve in a process of its own, by the package in `source` if given; yields the port."""
    environment = {**os.environ, "PYTHONPATH": source} if source else None
    command = [sys.executable, "-m", "pnasnet", "serve", *arguments, "--port", "0", "--no-grpc"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        found = next(filter(None, (re.search(r"listening on http://[^:]+:(\d+)", line) for line in process.stderr)))
        try:
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Sent:
    """A request that clients repeat."""

    path: str
    body: bytes
    headers: dict[str, str]

    def raw(self) -> bytes:
        """Return it as bytes of HTTP/1.1."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Measured:
    """What some clients have seen."""

    rate: float
    """Answers per second."""
    median: float
    p99: float
    """Seconds until an answer."""


async def ask(port: int, sent: bytes, end: float, seconds: list[float]) -> None:
    """Send a request again and again over one connection, and note how long each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        start = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head[:200]
        length = re.search(rb"\ncontent-length: (\d+)", head, re.IGNORECASE)
        assert length, head
        await reader.readexactly(int(length[1]))
        seconds.append(time.perf_counter() - start)
    writer.close()


def load_by_python(port: int, sent: bytes, clients: int, duration: float) -> Measured:
    """Ask by clients of this process; the first second is left out."""

    async def run() -> Measured:
        await asyncio.gather(*(ask(port, sent, time.perf_counter() + 1, []) for _ in range(clients)))
        seconds: list[float] = []
        start = time.perf_counter()
        await asyncio.gather(*(ask(port, sent, start + duration, seconds) for _ in range(clients)))
        rate = len(seconds) / (time.perf_counter() - start)
        return Measured(rate, statistics.median(seconds), float(np.quantile(seconds, 0.99)))

    return asyncio.run(run())


def load_by_wrk(port: int, sent: Sent, clients: int, duration: float) -> Measured:
    """Ask by `wrk`, whose time and share of the cores are smaller than Python's; the first second is left out."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "script.lua")
        body.write_bytes(sent.body)
        lines = ["wrk.method = 'POST'", f"local file = io.open('{body}', 'rb')", "wrk.body = file:read('*a')"]
        lines += [f"wrk.headers['{name}'] = '{value}'" for name, value in sent.headers.items()]
        lines.append(
            "done = function(summary, latency, requests) print('RESULT', summary.requests, summary.duration, "
            "latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.read + "
            "summary.errors.timeout) end"
        )
        script.write_text("\n".join(lines))
        command = ["wrk", "--threads", "1", "--connections", str(clients), "--script", str(script), "--timeout", "30s"]
        command.append(f"http://127.0.0.1:{port}{sent.path}")
        for seconds in (1.0, duration):
            limits = ["--duration", f"{max(1, round(seconds))}s"]
            done = subprocess.run([*command, *limits], capture_output=True, text=True, check=True, timeout=seconds + 60)
    (found,) = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT"))
    count, micros, median, p99, errors = map(float, found)
    assert not errors, done.stdout
    return Measured(1e6 * count / micros, median / 1e6, p99 / 1e6)


def load(port: int, sent: Sent, clients: int, duration: float) -> Measured:
    """Ask by the best client there is."""
    if shutil.which("wrk"):
        return load_by_wrk(port, sent, clients, duration)
    with ProcessPoolExecutor(1) as client:
        return client.submit(load_by_python, port, sent.raw(), clients, duration).result()


def timed(work: Callable[[], object], rounds: int = 50) -> tuple[float, float]:
    """Return the median seconds by the clock, and the CPU seconds of all threads per call."""
    work()
    clock, cpu = [], time.process_time()
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        clock.append(time.perf_counter() - start)
    return statistics.median(clock), (time.process_time() - cpu) / rounds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pnasnet_tiny")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--source", help="a folder with another version of the package, such as OTHER/src")
    options = parser.parse_args()
    print(f"{machine()}; clients: {'wrk' if shutil.which('wrk') else 'Python'}")
    content = PHOTO.read_bytes()
    module = Module(options.model)
    size = module.image_size
    image = preprocess(content, size)[np.newaxis]
    batch = np.repeat(image, 8, 0)
    decoding, engine = timed(lambda: preprocess(content, size)), timed(lambda: module(image))
    alone = CORES / (decoding[1] + timed(lambda: module(batch), 20)[1] / len(batch))
    print(f"decoding {1e3 * decoding[0]:.2f} ms, engine {1e3 * engine[0]:.2f} ms; at most {alone:.0f} images/s")
    photo = Sent("/embed", content, {"Accept": "application/octet-stream", "Content-Type": "image/jpeg"})
    with served(options.source, options.model) as port:
        one = load(port, photo, 1, options.seconds)
        more = one.median - decoding[0] - engine[0]
        print(f"1 client: {1e3 * one.median:.2f} ms, {1e3 * more:.2f} ms more than these")
        many = load(port, photo, CLIENTS, options.seconds)
        share, p99 = many.rate / alone, 1e3 * many.p99
        print(f"{CLIENTS} clients: {many.rate:.0f} images/s, {share:.0%} of these; p99 {p99:.0f} ms")
    nothing(options.source, options.model, size, options.seconds)


def nothing(source: str | None, model: str, size: tuple[int, int], duration: float) -> None:
    """Print the rate of requests with pixels to an engine that does next to nothing."""
    height, width = size
    pixels = np.zeros((1, height, width, 3), np.float32).tobytes()
    described = {"binary_data_size": len(pixels)}
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, height, width, 3], "parameters": described}
    wanted = {"name": "global_pool", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    name = Path(model).name if os.sep in model else model
    sent = Sent(f"/v2/models/{name}/infer", head + pixels, headers)
    with served(source, model, "--engine", "fake") as port:
        for clients in (1, CLIENTS):
            found = load(port, sent, clients, duration)
            print(
                f"an engine that does nothing, {height}x{width} pixels to features, {clients} clients: "
                f"{found.rate:.0f} requests/s, median {1e3 * found.median:.2f} ms"
            )


if __name__ == "__main__":
    main()
