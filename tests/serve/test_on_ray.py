"""Ray Serve that cannot start, and that cannot be stopped."""

import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pnasnet.engines import EngineOptions
from pnasnet.errors import InputError, OutputError, PnasnetError
from pnasnet.serve import on_ray
from pnasnet.serve.on_ray import ReplicaOptions, run_on_ray
from pnasnet.serve.settings import Settings

from tests.helpers.serving import CHECKPOINT
from tests.helpers.waiting import free_port

serve = pytest.importorskip("ray.serve")

SETTINGS = Settings((str(CHECKPOINT),), EngineOptions("fake"))


@dataclass(frozen=True)
class SettingsOfHere(Settings):
    """Settings whose model only the process that made them can open."""

    here: int = field(default_factory=os.getpid)

    def open(self) -> object:  # type: ignore[override]
        if os.getpid() != self.here:
            raise InputError("model/ is not on this machine")
        return super().open()


@pytest.fixture(scope="module")
def address(only_cluster: None) -> Iterator[str]:
    """A cluster of one processor."""
    import ray
    from ray.cluster_utils import Cluster

    node = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    ray.init(address=node.address, log_to_driver=False)
    yield node.address
    ray.shutdown()
    node.shutdown()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.slow
def test_a_port_that_is_taken_on_the_cluster(address: str, taken: int) -> None:
    with pytest.raises(PnasnetError, match=r"Ray Serve cannot start: .*address '127\.0\.0\.1:") as caught:
        run_on_ray(SETTINGS, ReplicaOptions(address), "127.0.0.1", taken, 1.0)
    assert "\n" not in str(caught.value)
    assert not serve.status().proxies


@pytest.mark.slow
def test_a_replica_that_cannot_start(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is reported, also if Ray Serve cannot be stopped afterwards."""
    settings = SettingsOfHere(SETTINGS.models, SETTINGS.engine)
    monkeypatch.setattr(serve, "delete", lambda name: 1 / 0)
    try:
        with pytest.raises(PnasnetError, match=r"Ray Serve cannot start: .*model/ is not on this machine$"):
            run_on_ray(settings, ReplicaOptions(address), "127.0.0.1", free_port(), 1.0)
        assert "Ray Serve could not be stopped: division by zero" in caplog.messages
    finally:
        serve.shutdown()


@pytest.mark.slow
def test_ray_serve_that_runs_already_keeps_its_address(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(on_ray, "_wait", lambda: None)
    caplog.set_level(logging.INFO)
    port = free_port()
    run_on_ray(SETTINGS, ReplicaOptions(address), "127.0.0.1", port, 1.0)
    assert f"listening on http://127.0.0.1:{port}, with 1 replica" in caplog.messages
    serve.start(http_options={"port": free_port()})
    run_on_ray(SETTINGS, ReplicaOptions(address), "127.0.0.1", port, 1.0)
    assert "listening on the address of Ray Serve, which runs already, with 1 replica" in caplog.messages
    assert not serve.status().proxies


def test_addresses_that_no_cluster_is_asked_for(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "cluster", lambda *_: pytest.fail("a cluster was started"))
    with pytest.raises(OutputError, match=f"cannot listen on 127.0.0.1:{taken}: .*; choose another --port"):
        run_on_ray(SETTINGS, ReplicaOptions(), "127.0.0.1", taken, 1.0)
    with pytest.raises(InputError, match="port 0 cannot be used on a Ray cluster"):
        run_on_ray(SETTINGS, ReplicaOptions(), "127.0.0.1", 0, 1.0)
