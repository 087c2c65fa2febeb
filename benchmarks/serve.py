"""What `pnasnet serve` adds to decoding and the network.

Command:  python benchmarks/serve.py [--model pnasnet_tiny] [--seconds 10] [--nothing FOLDER]
Method:   One run: decoding and the engine alone on the same JPEG photo, in this process, by CPU seconds and by the
          clock; then a server of the same model in a process of its own, asked by clients of a third process over kept
          connections: one client for the delay, 64 for the rate. The clients share the machine's cores, so that the
          server's own limit is higher. `--nothing FOLDER` serves that folder by the fake engine, which computes mean
          colours, and sends pixels by the Open Inference Protocol's binary extension: what the server alone costs.
Result:   see docs/benchmarks.md.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pnasnet import Module
from pnasnet.images import preprocess

from common import machine

PHOTO = Path(__file__).parent.parent / "examples" / "photos" / "coffee.jpg"
CLIENTS = 64
CORES = len(os.sched_getaffinity(0))


@contextmanager
def served(*arguments: str) -> Iterator[int]:
    """Serve in a process of its own; yields the port."""
    command = [sys.executable, "-m", "pnasnet", "serve", *arguments, "--port", "0", "--no-grpc"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        found = next(filter(None, (re.search(r"listening on http://[^:]+:(\d+)", line) for line in process.stderr)))
        try:
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Return an HTTP/1.1 request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


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


def load(port: int, sent: bytes, clients: int, duration: float) -> tuple[float, list[float]]:
    """Return answers per second of some clients, and the seconds of each; the first second is left out."""

    async def run() -> tuple[float, list[float]]:
        await asyncio.gather(*(ask(port, sent, time.perf_counter() + 1, []) for _ in range(clients)))
        seconds: list[float] = []
        start = time.perf_counter()
        await asyncio.gather(*(ask(port, sent, start + duration, seconds) for _ in range(clients)))
        return len(seconds) / (time.perf_counter() - start), seconds

    return asyncio.run(run())


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
    parser.add_argument(
        "--nothing", help="a small model to serve by the fake engine, such as tests/checkpoints/tiny_slim"
    )
    options = parser.parse_args()
    print(machine())
    content = PHOTO.read_bytes()
    module = Module(options.model)
    size = module.image_size
    image = preprocess(content, size)[np.newaxis]
    batch = np.repeat(image, 8, 0)
    decoding, engine = timed(lambda: preprocess(content, size)), timed(lambda: module(image))
    alone = CORES / (decoding[1] + timed(lambda: module(batch), 20)[1] / len(batch))
    print(f"decoding {1e3 * decoding[0]:.2f} ms, engine {1e3 * engine[0]:.2f} ms; at most {alone:.0f} images/s")
    photo = request("/embed", content, {"Accept": "application/octet-stream", "Content-Type": "image/jpeg"})
    with ProcessPoolExecutor(1) as client, served(options.model) as port:
        _, seconds = client.submit(load, port, photo, 1, options.seconds).result()
        delay = statistics.median(seconds)
        print(f"1 client: {1e3 * delay:.2f} ms, {1e3 * (delay - decoding[0] - engine[0]):.2f} ms more than these")
        rate, seconds = client.submit(load, port, photo, CLIENTS, options.seconds).result()
        p99 = float(np.quantile(seconds, 0.99))
        print(f"{CLIENTS} clients: {rate:.0f} images/s, {rate / alone:.0%} of these; p99 {1e3 * p99:.0f} ms")
    if options.nothing:
        nothing(options.nothing, options.seconds)


def nothing(folder: str, duration: float) -> None:
    """Print the rate of requests with pixels to an engine that does next to nothing."""
    height, width = Module(folder, engine="fake").image_size
    pixels = np.zeros((1, height, width, 3), np.float32).tobytes()
    name = Path(folder).name
    described = {"binary_data_size": len(pixels)}
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, height, width, 3], "parameters": described}
    wanted = {"name": "global_pool", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    sent = request(f"/v2/models/{name}/infer", head + pixels, headers)
    with ProcessPoolExecutor(1) as client, served(folder, "--engine", "fake") as port:
        rate, _ = client.submit(load, port, sent, CLIENTS, duration).result()
    print(f"an engine that does nothing, pixels to features: {rate:.0f} requests/s")


if __name__ == "__main__":
    main()
