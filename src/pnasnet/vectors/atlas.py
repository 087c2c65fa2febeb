"""Apple's embedding-atlas as a server on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from ..errors import OutputError
from ..support.text import clean

_HOST = "localhost"
_POLL = 0.2
"""Seconds between two looks at whether the server answers."""
_END = 5
"""Seconds that the server has to end."""


class AtlasServer:
    """A running embedding-atlas."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self._process, self._port, self._log = process, port, log

    @property
    def address(self) -> str:
        """The page to open in a browser."""
        return f"http://{_HOST}:{self._port}"

    def wait_until_ready(self) -> None:
        """Return once the server answers. Raises `OutputError` if it ends instead."""
        while not _answers(self._port):
            if self._process.poll() is not None:
                self._check()
                raise OutputError("embedding-atlas ended before it answered; try --html FILE instead")
            time.sleep(_POLL)

    def wait(self) -> None:
        """Return once the server has ended. Raises `OutputError` if it failed."""
        self._process.wait()
        self._check()

    def _check(self) -> None:
        if code := self._process.returncode:
            lines = self._log.read_text("utf-8", "replace").split("\n")
            last = next((clean(line.strip()) for line in reversed(lines) if line.strip()), "it printed nothing")
            raise OutputError(f"embedding-atlas ended with exit code {code}: {last}")


@contextmanager
def serve_atlas(table: Path, port: int) -> Iterator[AtlasServer]:
    """Start embedding-atlas with the table of `write_atlas`, without a network, and end it after the block.

    Its messages go to a file beside the table. Raises `OutputError` if the port is in use.
    """
    if _answers(port):
        raise OutputError(f"port {port} is in use: choose another one with --port")
    log = table.with_suffix(".log")
    with log.open("wb") as messages:
        process = subprocess.Popen(atlas_command(table, port), stdout=messages, stderr=subprocess.STDOUT)
    try:
        yield AtlasServer(process, port, log)
    finally:
        process.terminate()
        try:
            process.wait(_END)
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


def _answers(port: int) -> bool:
    """Return whether anything accepts connections at a port of this machine and does not fail to speak HTTP."""
    connection = HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except ConnectionRefusedError:
        return False
    except (OSError, HTTPException):  # something else listens
        return True
    finally:
        connection.close()
    return True
