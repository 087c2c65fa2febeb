"""Wait for servers and processes, with a deadline."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import AnyStr


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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
