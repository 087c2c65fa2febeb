"""A Ray cluster: one that is there, or one of this machine that ends with the program."""

import importlib.util
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from ..errors import InputError, MissingExtraError

log = logging.getLogger(__name__)

LOCAL = "local"
"""Stands for a cluster of this machine alone, begun for the purpose."""
_CLIENT = "ray://"
_TRIES = 3
_NOT_STARTED = ("Starting Ray client server failed", "Proxy failed to Connect to backend")
"""What a server for clients says where the process that it began for this one has died, at once or a little later."""
_TOO_SLOW = "timed out during startup"
"""What Ray says where a machine is too busy to begin a cluster."""


def is_client(address: str) -> bool:
    """Whether an address is that of a server for clients, which take no part in the cluster themselves."""
    return address.startswith(_CLIENT)


@contextmanager
def cluster(address: str, purpose: str) -> Iterator[Any]:
    """Connect to a cluster within the block, and give Ray's module.

    Args:
        address: `local`; `auto` for the one that runs here; or `host:port` or `ray://host:port`.
        purpose: what it is for, in words.

    Raises:
        MissingExtraError: Ray is not installed, or not its client. InputError: no cluster answers.
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
    begun = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray prints messages of its own to where only results belong
        try:
            _connect(ray, address)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise InputError(
                f"no Ray cluster answers at {address!r} ({reason}): start one with `ray start`; for one that asks for "
                "a token, set RAY_AUTH_MODE=token"
            ) from error
        except Exception as error:  # Ray has no kind of its own for it
            if _TOO_SLOW not in str(error):
                raise
            raise InputError(
                "Ray could not start on this machine within 30 seconds: try again when it has less to do, or leave out "
                "Ray"
            ) from error
        try:
            yield ray
        finally:
            if begun:
                ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Connect, as `cluster` says; a server for clients that could not begin a process is asked again."""
    for tries in range(1, _TRIES + 1):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        except ConnectionError as error:
            if tries == _TRIES or not any(words in str(error) for words in _NOT_STARTED):
                raise
            log.info("the Ray client server could not begin a process for this program; it is asked again")
            time.sleep(tries)
        else:
            return
