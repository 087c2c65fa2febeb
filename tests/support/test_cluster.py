"""Connecting to a Ray cluster; whole clusters are in the tests of what runs on one."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pnasnet.errors import InputError
from pnasnet.support.cluster import cluster

from tests.helpers.waiting import free_port

ray = pytest.importorskip("ray")

_REFUSED = "Initialization failure from server:\nTraceback ...\nRuntimeError: "
FAILED = ConnectionAbortedError(f"{_REFUSED}Starting Ray client server failed. See ray_client_server_23000.err")
DIED = ConnectionAbortedError(f"{_REFUSED}Proxy failed to Connect to backend! Check ray_client_server.err")
"""What Ray 2.60 raises, at once or 30 seconds later, if such a process is killed."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Outcomes of successive calls of `ray.init`: an error to raise, or None."""
    answers: list[Any] = []

    def init(**_: Any) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("pnasnet.support.cluster.time.sleep", lambda seconds: None)
    yield answers
    assert not answers


def test_a_server_that_could_not_start_a_process_is_retried(calls: list[Any]) -> None:
    calls += [FAILED, DIED, None]
    with cluster("ray://127.0.0.1:1", "this") as connected:
        assert connected is ray


def test_retries_are_limited(calls: list[Any]) -> None:
    calls += [FAILED] * 3
    message = r"no Ray cluster answers at 'ray://127.0.0.1:1' \(RuntimeError: Starting Ray client server failed"
    with pytest.raises(InputError, match=message), cluster("ray://127.0.0.1:1", "this"):
        pass


def test_other_connection_errors_are_not_retried(calls: list[Any]) -> None:
    calls += [ConnectionError("ray client connection timeout")]
    message = (
        r"no Ray cluster answers at 'ray://127.0.0.1:1' \(ray client connection timeout\): start one with `ray start`"
    )
    with pytest.raises(InputError, match=message), cluster("ray://127.0.0.1:1", "this"):
        pass


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{port}", "Connection refused"),
        ("[::1]:{port}", ""),  # or there is no IPv6
        ("no-such-host.invalid:6379", ""),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_an_address_at_which_nothing_listens_is_refused_before_ray_tries_it(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch, address: str, reason: str, by_environment: bool
) -> None:
    address = address.format(port=free_port())
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", address)
        address = "auto"
    message = rf"no Ray cluster answers at '{re.escape(address)}' \(.*{reason}.*\): start one with `ray start`"
    with pytest.raises(InputError, match=message), cluster(address, "this"):
        pass


def test_an_address_at_which_something_listens_is_left_to_ray(calls: list[Any]) -> None:
    calls += [None]
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), cluster(f"127.0.0.1:{port}", "this") as connected:
        assert connected is ray


def test_a_machine_too_busy_to_start_ray(calls: list[Any]) -> None:
    calls += [Exception("The current node timed out during startup. This could happen because ...")]
    message = "Ray did not start on this machine within 30 seconds: try again when the machine is less busy"
    with pytest.raises(InputError, match=message), cluster("local", "this"):
        pass


def test_other_errors_are_not_hidden(calls: list[Any]) -> None:
    calls += [Exception("of Ray's own")]
    with pytest.raises(Exception, match="of Ray's own"), cluster("local", "this"):
        pass
