"""Connecting to a Ray cluster; whole clusters are in the tests of what runs on one."""

from collections.abc import Iterator
from typing import Any

import pytest

from pnasnet.cluster import cluster
from pnasnet.errors import InputError

ray = pytest.importorskip("ray")

FAILED = RuntimeError("Traceback ...\nRuntimeError: Starting Ray client server failed. See ray_client_server_23000.err")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What `ray.init` is to do: raise each of these in turn, or succeed where it is None."""
    answers: list[Any] = []

    def init(**_: Any) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("pnasnet.cluster.time.sleep", lambda seconds: None)
    yield answers
    assert not answers


def test_a_server_that_could_not_begin_a_process_is_asked_again(calls: list[Any]) -> None:
    calls += [FAILED, FAILED, None]
    with cluster("ray://127.0.0.1:1", "this") as connected:
        assert connected is ray


def test_but_not_for_ever(calls: list[Any]) -> None:
    calls += [FAILED] * 3
    message = r"no Ray cluster answers at 'ray://127.0.0.1:1' \(RuntimeError: Starting Ray client server failed"
    with pytest.raises(InputError, match=message), cluster("ray://127.0.0.1:1", "this"):
        pass


def test_nor_after_another_error(calls: list[Any]) -> None:
    calls += [ConnectionError("ray client connection timeout")]
    message = r"no Ray cluster answers at '127.0.0.1:1' \(ray client connection timeout\): start one with `ray start`"
    with pytest.raises(InputError, match=message), cluster("127.0.0.1:1", "this"):
        pass
