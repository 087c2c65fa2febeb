"""A Ray cluster: one that is there, or one of this machine that ends with the program."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from .errors import InputError, MissingExtraError

LOCAL = "local"
"""Stands for a cluster of this machine alone, begun for the purpose."""


@contextmanager
def cluster(address: str, purpose: str) -> Iterator[Any]:
    """Connect to a cluster within the block, and give Ray's module.

    Args:
        address: `local`; `auto` for the one that runs here; or `host:port` or `ray://host:port`.
        purpose: what it is for, in words.

    Raises:
        MissingExtraError: Ray is not installed. InputError: no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("ray", "ray", purpose) from error
    begun = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray prints messages of its own to where only results belong
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"no Ray cluster answers at {address!r} ({reason}): start one with `ray start`") from error
        try:
            yield ray
        finally:
            if begun:
                ray.shutdown()
