"""The overhead of `pnasnet serve` over decoding and the network: time per request, and fraction of the possible rate.

Command:  python benchmarks/serve.py [--seconds 5] [--without-large] [--without-ray] [--source FOLDER]
Method:   each figure of a server is compared with one of this process, measured just before on the same cores: the
          median time of decoding and the engine at the pace of one client, or the rate of a program without a server
          that decodes photos in one thread per core while it computes batches of the server's size, with one engine
          thread or one per core, whichever is faster. The server runs in a process of its own and shares the cores.
          Clients keep their connections: `wrk` if it is installed, else coroutines of this process.
          The cost of the server alone is measured with the fake engine, which receives pixels by the Open Inference
          Protocol's binary extension; the same for Ray Serve.
          `pnasnet_large` has random weights, which do not change its speed. It is timed for a number of photos instead
          of a number of seconds, because whole batches are answered at once.
          Overload: there are twice as many clients as the queue has places; refused clients retry after `Retry-After`.
          `--source FOLDER` serves the package in that folder instead, to compare two versions on one machine.
Result:   see docs/benchmarks.md; about five minutes on two cores.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pnasnet import Module, write_weights
from pnasnet.architecture.plan import resolve
from pnasnet.architecture.zoo import find
from pnasnet.images import preprocess
from pnasnet.module.open import Model, metadata
from pnasnet.serve.models import default_batch_size

from common import machine, random_weights

PHOTO = (Path(__file__).parents[1] / "tests" / "photos" / "coffee.jpg").read_bytes()
FEATURES, ROUNDS = "global_pool", 3
CORES = len(os.sched_getaffinity(0))
PAUSE = 5e-4
"""Seconds between two requests of one client, in which the engine's threads go to sleep, unlike in a loop."""
STARTED, ENDED, ANSWERED = 240.0, 60.0, 120.0
"""Time limits in seconds for a server to start, to end, and to answer a request."""


@dataclass(frozen=True)
class Sent:
    """A request that clients repeat."""

    path: str
    body: bytes
    headers: dict[str, str]

    def raw(self) -> bytes:
        """Return the request as bytes of HTTP/1.1."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


AS_FLOATS = {"Accept": "application/octet-stream", "Content-Type": "image/jpeg"}


def pixels(model: str, size: tuple[int, int]) -> Sent:
    """Return a binary request for the features of one image, which is sent as pixels."""
    data = np.zeros((1, *size, 3), np.float32).tobytes()
    described = {"binary_data_size": len(data)}
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, *size, 3], "parameters": described}
    wanted = {"name": FEATURES, "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return Sent(f"/v2/models/{model}/infer", head + data, headers)


@contextmanager
def served(source: str | None, *arguments: str) -> Iterator[int]:
    """Serve in a process of its own, with the package in `source` if given; yields the port."""
    with socket.socket() as found:  # Ray Serve does not report a port that it chose
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **({"PYTHONPATH": source} if source else {})}
    command = [sys.executable, "-m", "pnasnet", "serve", *arguments, "--port", str(port), "--no-grpc"]
    listening, lines = threading.Event(), list[str]()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:

        def read() -> None:
            assert process.stderr
            for line in process.stderr:
                lines.append(line)
                if "listening on http://" in line:
                    listening.set()
            listening.set()

        threading.Thread(target=read, daemon=True).start()
        try:
            if not listening.wait(STARTED) or process.poll() is not None:
                raise SystemExit(f"no server: {' '.join(command)}\n{''.join(lines)}")
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDED)
            process.kill()


@dataclass(frozen=True)
class Load:
    """The measurements of the clients."""

    rate: float
    """Answers per second."""
    median: float
    p99: float
    """Seconds until an answer, without refusals."""
    refused: int = 0
    """Number of answers with status 429."""


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> tuple[int, float]:
    """Send a request; return the status, and the seconds after which to retry."""
    async with asyncio.timeout(ANSWERED):
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:-1])
        await reader.readexactly(int(fields["content-length"]))
    return int(head.split()[1]), float(fields.get("retry-after", 0))


def ask(port: int, sent: Sent, clients: int, *, count: int = sys.maxsize, seconds: float = 1e9) -> Load:
    """Send requests from coroutines of this process, `count` in total, or for some seconds."""
    raw, times, refused, begun = sent.raw(), list[float](), 0, 0

    async def client(end: float) -> None:
        nonlocal refused, begun
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while begun < count and time.perf_counter() < end:
            begun += 1
            start = time.perf_counter()
            while True:
                status, later = await exchange(reader, writer, raw)
                if status == 200:
                    break
                assert status == 429, status
                refused += 1
                await asyncio.sleep(later)
                start = time.perf_counter()
            times.append(time.perf_counter() - start)
        writer.close()

    async def run() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(client(start + seconds) for _ in range(clients)))
        return time.perf_counter() - start

    elapsed = asyncio.run(run())
    return Load(len(times) / elapsed, statistics.median(times), float(np.quantile(times, 0.99)), refused)


def ask_by_wrk(port: int, sent: Sent, clients: int, seconds: float) -> Load:
    """Send requests by `wrk`, which needs less CPU time than Python."""
    with TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "script.lua")
        body.write_bytes(sent.body)
        lines = ["wrk.method = 'POST'", f"local file = io.open('{body}', 'rb')", "wrk.body = file:read('*a')"]
        lines += [f"wrk.headers['{name}'] = '{value}'" for name, value in sent.headers.items()]
        lines.append(
            "done = function(summary, latency, requests) print('RESULT', summary.requests, summary.duration, "
            "latency:percentile(50), latency:percentile(99), summary.errors.connect + summary.errors.status + "
            "summary.errors.read + summary.errors.write + summary.errors.timeout) end"
        )
        script.write_text("\n".join(lines))
        command = ["wrk", "--threads", "1", "--connections", str(clients), "--script", str(script), "--timeout", "30s"]
        command += ["--duration", f"{max(1, round(seconds))}s", f"http://127.0.0.1:{port}{sent.path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    (found,) = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT"))
    count, micros, median, p99, errors = map(float, found)
    assert not errors, done.stdout
    return Load(1e6 * count / micros, median / 1e6, p99 / 1e6)


def load(port: int, sent: Sent, clients: int, seconds: float) -> Load:
    """Send requests for some seconds, by `wrk` if it is installed, after a second of warm-up."""
    by_wrk = shutil.which("wrk") is not None
    for duration in (1.0, seconds):
        seen = ask_by_wrk(port, sent, clients, duration) if by_wrk else ask(port, sent, clients, seconds=duration)
        assert not seen.refused
    return seen


def seconds_alone(work: Callable[[], object], calls: int = 500) -> float:
    """Return the median seconds of a call without a server, at the pace of a client."""
    times = list[float]()
    for _ in range(calls):
        time.sleep(PAUSE)
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run_each(module: Module, images: Sequence[np.ndarray]) -> object:
    """Run the engine once for some images."""
    return module.run(np.stack(images), (FEATURES,))


def possible_rate(module: Module, count: int) -> float:
    """Return the photos per second of a program without a server, which decodes in threads and computes batches.

    The faster of two ways counts: decoding and computing at the same time, or one after the other on all cores.
    """
    batch = default_batch_size(module.model.plan.mult_adds)
    with ThreadPoolExecutor(CORES) as pool:
        start = time.perf_counter()
        decoded = pool.map(lambda _: preprocess(PHOTO, module.image_size), range(count))
        for _ in range(0, count, batch):
            run_each(module, [next(decoded) for _ in range(batch)])
        together = time.perf_counter() - start
        start = time.perf_counter()
        images = list(pool.map(lambda _: preprocess(PHOTO, module.image_size), range(count)))
        for first in range(0, count, batch):
            run_each(module, images[first : first + batch])
        in_turn = time.perf_counter() - start
    return count / min(together, in_turn)


def engine_per_image(port: int) -> tuple[float, float]:
    """Return the total seconds and images of the server's engine."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ANSWERED) as answer:
        text = answer.read().decode()
    found = [re.search(rf"^{name}_sum{{[^}}]*}} (\S+)$", text, re.MULTILINE)
             for name in ("pnasnet_engine_seconds", "pnasnet_batch_images")]  # fmt: skip
    return tuple(float(each[1]) for each in found if each)  # type: ignore[return-value]


def overload(port: int, sent: Sent, queue: int, count: int) -> None:
    """Print the time of accepted requests with twice as many clients as places in the queue."""
    before = engine_per_image(port)
    seen = ask(port, sent, 2 * queue, count=count)
    seconds, images = (now - then for now, then in zip(engine_per_image(port), before, strict=True))
    bound = queue * seconds / images
    share = f"{seen.p99 / bound:.2f} of queue x engine ({queue} x {1e3 * seconds / images:.2f} ms)"
    print(f"  overload, {2 * queue} clients: p99 {1e3 * seen.p99:.0f} ms, {share}; {seen.refused} refusals")


def tiny(source: str | None, seconds: float) -> None:
    """Measure a small network: the overhead of a request, and the fraction of the possible rate with 64 clients."""
    name, queue = "pnasnet_tiny", 128  # more than the clients, because wrk leaves requests in the queue when it ends
    module, photo = Module(name), Sent("/embed", PHOTO, AS_FLOATS)
    print(f"{name}, one photo of 600x400 or its pixels, {module.image_size[0]}x{module.image_size[1]}:")
    with served(source, name, "--max-queue", str(queue)) as port:
        image = preprocess(PHOTO, module.image_size)
        one_client(port, "pixels", pixels(name, module.image_size), lambda: run_each(module, [image]), seconds)
        one_client(port, "a photo", photo, lambda: run_each(module, [preprocess(PHOTO, module.image_size)]), seconds)
        many_clients(port, "one thread per core", name, photo, seconds)
        overload(port, photo, queue, 1000)
    with served(source, name, "--max-queue", str(queue), "--threads", "1") as port:
        many_clients(port, "one thread", name, photo, seconds)


def one_client(port: int, what: str, sent: Sent, work: Callable[[], object], seconds: float) -> None:
    """Print the time of a request beyond that of the same work without a server."""
    for _ in range(ROUNDS):
        alone, seen = seconds_alone(work), load(port, sent, 1, seconds)
        more = 1e3 * (seen.median - alone)
        print(f"  1 client, {what}: {1e3 * seen.median:.2f} ms, {more:.2f} more than {1e3 * alone:.2f} alone")


def many_clients(port: int, threads: str, name: str, sent: Sent, seconds: float) -> None:
    """Print the rate of 64 clients, and its fraction of the possible rate."""
    shares, modules = list[float](), [Module(name), Module(name, threads=1)]
    for _ in range(ROUNDS):
        possible = max(possible_rate(module, 1280) for module in modules)
        seen = load(port, sent, 64, seconds)
        shares.append(seen.rate / possible)
        print(f"  64 clients: {seen.rate:.0f} photos/s of {possible:.0f} possible, p99 {1e3 * seen.p99:.0f} ms")
    share = statistics.median(shares)
    print(f"  64 clients, an engine of {threads}: {share:.1%} of the possible rate")


def large(source: str | None, folder: Path) -> None:
    """Measure a large network: the fraction of the possible rate."""
    name, queue = "pnasnet_large", 16
    path, plan = folder / f"{name}.safetensors", resolve(find(name).spec)
    write_weights(path, random_weights(plan), **metadata(Model(name, plan, None, (), "random", None)))
    module, photo = Module(str(path)), Sent("/embed", PHOTO, AS_FLOATS)
    print(f"{name}, random weights, one photo of 600x400:")
    possible_rate(module, 8)  # compiles the model for both
    with served(source, str(path), "--max-queue", str(queue)) as port:
        ask(port, photo, 8, count=8)
        shares = list[float]()
        for _ in range(ROUNDS):
            possible = possible_rate(module, 16)
            seen = ask(port, photo, queue, count=48)
            shares.append(seen.rate / possible)
            print(f"  {queue} clients: {seen.rate:.2f} photos/s of {possible:.2f} possible")
        print(f"  {queue} clients: {statistics.median(shares):.1%} of the possible rate")
        overload(port, photo, queue, 48)


def empty(source: str | None, seconds: float, *arguments: str) -> None:
    """Print the rate and the time of requests with pixels to the fake engine."""
    name = "pnasnet_tiny"
    sent = pixels(name, Module(name).image_size)
    with served(source, name, "--engine", "fake", *arguments) as port:
        for clients in (1, 64):
            seen = load(port, sent, clients, seconds)
            asked = "1 client" if clients == 1 else f"{clients} clients"
            median, p99 = 1e3 * seen.median, 1e3 * seen.p99
            print(f"  {asked}: {seen.rate:.0f} requests/s, median {median:.2f} ms, p99 {p99:.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="duration of each load")
    parser.add_argument("--without-large", action="store_true")
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--source", help="a folder with another version of the package, such as OTHER/src")
    options = parser.parse_args()
    print(f"{machine()}, {CORES} used; clients: {'wrk' if shutil.which('wrk') else 'Python'}")
    with TemporaryDirectory() as folder:
        os.environ["PNASNET_CACHE"] = folder
        print("the fake engine, 32x32 pixels to features:")
        empty(options.source, options.seconds)
        tiny(options.source, options.seconds)
        if not options.without_ray and importlib.util.find_spec("ray"):
            print("the fake engine on Ray Serve:")
            empty(options.source, options.seconds, "--ray")
        if not options.without_large:
            large(options.source, Path(folder))


if __name__ == "__main__":
    main()
