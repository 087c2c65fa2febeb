"""Wait for servers and processes, with a deadline."""

import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, AnyStr

_HELD: list[IO[bytes]] = []
"""Locks of the ports that this process has been given, kept until it ends."""


def free_port() -> int:
    """Return a port on which nothing listens, and which neither the system nor another test process gives away.

    The system gives ports of its own range to whoever asks for any, so that one of these might be taken before it is
    used.
    """
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports: list[int] = [*range(20_000, low), *range(high + 1, 65_536)]  # Ray's workers have those below
    random.SystemRandom().shuffle(ports)
    folder = Path(tempfile.gettempdir(), f"pnasnet-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for port in ports:
        lock = (folder / str(port)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as free:
                free.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _HELD.append(lock)
        return port
    raise AssertionError("all ports are in use")


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


@contextmanager
def limited(process: "subprocess.Popen[AnyStr]", seconds: float = 300.0) -> "Iterator[subprocess.Popen[AnyStr]]":
    """Kill a process with its session, which must be its own, after the block, or when the block takes too long."""

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    with process:
        try:
            yield process
        finally:
            timer.cancel()
            kill()
