"""Runs Apple's embedding-atlas as a server on this machine."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError
from ..support.contexts import contextmanager
from ..support.text import clean, duration

_HOST = "localhost"
_START_SECONDS = 600
"""Time for the server to load its libraries and the table."""
_POLL_SECONDS = 0.2
_END_SECONDS = 5
"""Time between terminating the server and killing it."""


class AtlasServer:
    """A running embedding-atlas server."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self._process, self._port, self._log = process, port, log

    @property
    def address(self) -> str:
        """The page to open in a browser."""
        return f"http://{_HOST}:{self._port}"

    def wait_until_ready(self) -> None:
        """Wait until the server accepts connections. Raises `OutputError` if it exits or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while not _is_listening(self._port):
            if self._process.poll() is not None:
                self._raise_for_exit_code()
                raise OutputError("embedding-atlas ended before it answered: try --html FILE instead")
            if time.monotonic() > deadline:
                raise OutputError(
                    f"embedding-atlas did not answer within {duration(_START_SECONDS)}; its last line: "
                    f"{self._last_line()}; show fewer images with --points, or try --html FILE instead"
                )
            time.sleep(_POLL_SECONDS)

    def wait(self) -> None:
        """Wait until the server exits. Raises `OutputError` if it failed."""
        self._process.wait()
        self._raise_for_exit_code()

    def _raise_for_exit_code(self) -> None:
        if code := self._process.returncode:
            raise OutputError(f"embedding-atlas ended with exit code {code}: {self._last_line()}")

    def _last_line(self) -> str:
        lines = self._log.read_text("utf-8", "replace").split("\n")
        return next((clean(line.strip()) for line in reversed(lines) if line.strip()), "it printed nothing")


def check_port(port: int) -> None:
    """Raise `OutputError` if a port of this machine is in use."""
    if _is_listening(port):
        raise OutputError(f"port {port} is in use: choose another one with --port")


@contextmanager
def serve_atlas(table: Path, port: int) -> Iterator[AtlasServer]:
    """Start embedding-atlas, offline, with a table of `write_atlas`; end it after the block.

    Its output goes to a log file beside the table.
    """
    log = table.with_suffix(".log")
    with log.open("wb") as messages:
        process = subprocess.Popen(atlas_command(table, port), stdout=messages, stderr=subprocess.STDOUT)
    try:
        yield AtlasServer(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def atlas_command(table: Path, port: int) -> list[str]:
    """Return the command that serves the table with embedding-atlas at a local port, offline."""
    return [
        *(sys.executable, "-m", "embedding_atlas.cli", os.fspath(table)),
        *("--image", "image", "--x", "x", "--y", "y", "--neighbors", "neighbors"),
        *("--host", _HOST, "--port", str(port), "--no-auto-port"),
    ]


def _is_listening(port: int) -> bool:
    """Return whether a port of this machine accepts connections."""
    try:
        socket.create_connection((_HOST, port), timeout=5).close()
    except TimeoutError:  # something listens, but is slow
        return True
    except OSError:
        return False
    return True
