"""Connect to a Ray cluster, or start one on this machine that ends with the program."""

import importlib.util
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

from ..errors import InputError, MissingExtraError
from .contexts import contextmanager

log = logging.getLogger(__name__)

LOCAL = "local"
"""Address of a new cluster on this machine alone."""
_CLIENT = "ray://"
_PLAIN = re.compile(r"(?P<host>[^:/]+|\[[^]/]+\]):(?P<port>\d{1,5})")
_CONNECT_SECONDS = 10.0
_TRIES = 3
_NOT_STARTED = ("Starting Ray client server failed", "Proxy failed to Connect to backend", "ZombieProcess")
"""Errors of a Ray client server whose process for this client died, at once or soon after its start."""
_TOO_SLOW = "timed out during startup"
"""Error on a machine that is too busy to start a cluster."""


def is_client(address: str) -> bool:
    """Return whether this is the address of a Ray client server."""
    return address.startswith(_CLIENT)


@contextmanager
def cluster(address: str, purpose: str) -> Iterator[Any]:
    """Connect to a cluster within the block; yields Ray's module.

    Args:
        address: `local` (a new cluster), `auto` (the one that runs on this machine), `HOST:PORT` or `ray://HOST:PORT`.
        purpose: the task, such as "searching", for the error if Ray is missing.

    Raises:
        MissingExtraError: Ray or its client is not installed.
        InputError: no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("ray", "ray", purpose) from error
    if is_client(address) and importlib.util.find_spec("grpc") is None:
        raise MissingExtraError(
            f"{address} needs Ray's client, which is not installed: pip install 'ray[client]', or run the command on a "
            "machine of the cluster with the address `auto`"
        )
    started = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray prints messages to standard output
        try:
            _check_port(address)
            _connect(ray, address)
        except (OSError, ValueError, RuntimeError) as error:
            reason = _reason(error)
            raise InputError(
                f"no Ray cluster answers at {address!r} ({reason}): start one with `ray start`, or set "
                "RAY_AUTH_MODE=token if the cluster requires a token"
            ) from error
        except Exception as error:  # Ray has no class for it
            if _TOO_SLOW not in str(error):
                raise
            raise InputError(
                "Ray did not start on this machine within 30 seconds: try again when the machine is less busy, or run "
                "without Ray"
            ) from error
        try:
            yield ray
        finally:
            if started:
                ray.shutdown()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _check_port(address: str) -> None:
    """Raise OSError if nothing listens at an address HOST:PORT: Ray would try for minutes."""
    if plain := _PLAIN.fullmatch(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address):
        socket.create_connection((plain["host"].strip("[]"), int(plain["port"])), _CONNECT_SECONDS).close()


def _connect(ray: Any, address: str) -> None:
    """Connect; retry if a client server could not start a process."""
    for tries in range(1, _TRIES + 1):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        except ConnectionError as error:
            if tries == _TRIES or not any(words in str(error) for words in _NOT_STARTED):
                raise
            log.info("the Ray client server could not start a process for this program; retrying")
            time.sleep(tries)
        else:
            return
