"""What all tests share."""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from hypothesis import HealthCheck, settings

from pnasnet.engines.signal_stack import kept_signal_stack

CLUSTER_SECONDS = 900
"""Limit for the other modules with a Ray cluster, one after another."""

# One thread each: the networks are small, and threads of several processes that wait for one another stand still. Set
# before torch is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# pytest-xdist states a width to its processes; what commands print would be cut to it.
os.environ.pop("COLUMNS", None)

# How fast examples are drawn and run is a matter of what else the machine does.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the tests away from the user's cache, and off the network."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("PNASNET_CACHE", str(folder))
        patch.setenv("PNASNET_OFFLINE", "1")
        yield folder


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Undo what a command does to the log, which other tests of the process would see."""
    log = logging.getLogger("pnasnet")
    level, handlers, propagate = log.level, log.handlers[:], log.propagate
    yield
    log.setLevel(level)
    log.handlers[:], log.propagate = handlers, propagate


@pytest.fixture(autouse=True)
def own_signal_stack() -> Iterator[None]:
    """Undo what OpenVINO does to the signal stack if a test compiles a model by itself: see `kept_signal_stack`.

    Otherwise a later signal, such as the end of a process that decodes images, may end the process of the tests.
    """
    with kept_signal_stack():
        yield


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Return the list of connections to SQLite that are opened from now on."""
    connect, opened = sqlite3.connect, list[sqlite3.Connection]()

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", recorded)
    return opened


@pytest.fixture(scope="module")
def only_cluster() -> Iterator[None]:
    """Let no other module that is tested at the same time have a Ray cluster: `auto` finds any on the machine."""
    lock = FileLock(Path(tempfile.gettempdir()) / "pnasnet-tests-ray.lock")
    try:
        held = lock.acquire(timeout=CLUSTER_SECONDS)
    except Timeout:
        pytest.fail(f"another process has held {lock.lock_file} for {CLUSTER_SECONDS} s: end it first", pytrace=False)
    with held:
        yield


@pytest.fixture(scope="module")
def ray_folder(only_cluster: None) -> Iterator[str]:
    """A folder for what Ray remembers, so that `auto` finds no cluster that is gone; short, as names of sockets are."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield folder
