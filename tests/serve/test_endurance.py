"""Many requests, good and malformed, to a server in a process of its own: no fault of it, and no growing memory.

The long forms, `pytest -m long -s tests/serve`, print what was answered and the server's memory.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import requests

from tests.helpers.malformed import MODEL, Sender
from tests.helpers.serving import ServerProcess, encoded, server_process

LONG = (pytest.mark.slow, pytest.mark.long)
HTTP = {200, 400, 404, 405, 406, 413, 415}
GRPC = {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
BROKEN = {"closed", 100, 200, 400, 404, 405, 406, 413, 415}
GROWTH = 20 << 20
"""Bytes of memory that a server may gain after its first thousands of requests: its allocator's, not a leak's."""
WORKERS = 4


def by_workers(server: ServerProcess, work: Callable[[Sender], None]) -> Counter[tuple[str, Any]]:
    """Run `work` in threads, each with a sender of its own; return the answers of all."""

    def run(seed: int) -> Counter[tuple[str, Any]]:
        sender = Sender(server, seed)
        try:
            work(sender)
        finally:
            sender.close()
        return sender.answers

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(run, range(WORKERS)), Counter[tuple[str, Any]]())


def check(server: ServerProcess, answers: Counter[tuple[str, Any]]) -> None:
    """Check that the answers blame the client, and that the server is well, has said nothing odd, and ends."""
    allowed = {*(("HTTP", x) for x in HTTP), *(("gRPC", x) for x in GRPC), *(("broken HTTP", x) for x in BROKEN)}
    assert set(answers) <= allowed, answers
    answer = requests.post(f"{server.url}/embed", data=encoded(), timeout=30)
    assert answer.status_code == 200
    figures = requests.get(f"{server.url}/metrics", timeout=30).text
    assert f'pnasnet_queue_images{{model="{MODEL}"}} 0.0' in figures
    log = server.log()
    assert "Traceback" not in log
    assert all(line.isprintable() for line in log.splitlines())
    assert server.end() == 0


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=LONG)])
def test_malformed_requests_are_no_fault_of_the_server(count: int, tmp_path: Path) -> None:
    end = time.monotonic() + 300 + count / 20

    def work(sender: Sender) -> None:
        for _ in range(count // WORKERS):
            assert time.monotonic() < end, "too slow"
            sender.send()

    with server_process(tmp_path) as server:
        first = by_workers(server, work)
        before = server.memory()
        answers = by_workers(server, work)
        after = server.memory()
        print(f"{count} requests, twice: {dict(answers)}; memory {before >> 20} MiB, then {after >> 20} MiB")
        check(server, answers + first)
        assert answers.total() == first.total() == count
        for each in (answers, first):  # a broken connection may be closed before or after an answer was sent
            for kind in [kind for kind in each if kind[0] == "broken HTTP"]:
                del each[kind]
        assert answers == first, "the same requests have the same answers"
        assert after - before < GROWTH


@pytest.mark.parametrize("seconds", [4, pytest.param(600, marks=LONG)])
def test_memory_stays_flat(seconds: float, tmp_path: Path) -> None:
    sizes = list[tuple[float, int]]()

    def work(sender: Sender) -> None:
        numbers, every = random.Random(len(sizes)), seconds / 100
        with requests.Session() as session:
            while (passed := time.monotonic() - start) < seconds or len(sizes) < 20:
                if not sizes or passed - sizes[-1][0] > every:
                    sizes.append((passed, server.memory()))
                if numbers.random() < 0.5:
                    sender.send()
                else:
                    answer = session.post(f"{server.url}/embed", data=encoded(numbers.randrange(9)), timeout=30)
                    sender.answers["HTTP", answer.status_code] += 1
                time.sleep(seconds / 60_000)  # so that the server is not the only one of its machine

    with server_process(tmp_path) as server:
        start = time.monotonic()
        answers = by_workers(server, work)
        quarter = len(sizes) // 4
        early, late = (median(size for _, size in part) for part in (sizes[quarter : 2 * quarter], sizes[-quarter:]))
        print(f"{answers.total()} requests: {dict(answers)}; memory {early / 2**20:.1f}, then {late / 2**20:.1f} MiB")
        assert late - early < GROWTH
        check(server, answers)
