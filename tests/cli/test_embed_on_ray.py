"""`pnasnet embed` on Ray, as a user runs it: on a cluster of its own, or on one that `ray start` started."""

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.cli_runs import MODEL, PHOTOS, error_of, run
from tests.helpers.waiting import free_port

pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("only_cluster")

HAS_CLIENT = importlib.util.find_spec("grpc") is not None
NAMES = [f"photos/{name}" for name in ("astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg")]


@dataclass(frozen=True)
class Started:
    """A cluster that has been started: where it answers, and the environment in which to speak to it."""

    address: str
    client_address: str
    environment: Mapping[str, str]


@pytest.fixture(scope="module")
def started(ray_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A cluster of one node, which was started elsewhere."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    port, client_port = free_port(), free_port()
    # A token of its own, for Ray begins to ask for one; older releases pass it over.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, "PNASNET_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", **token}
    environment["RAY_TMPDIR"] = ray_folder
    environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--num-cpus", "2", "--port", str(port), "--include-dashboard=false", "--node-ip-address", "127.0.0.1"),
        *(("--ray-client-server-port", str(client_port)) if HAS_CLIENT else ()),
    ]
    with (elsewhere / "log").open("w") as log:
        node = subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for("Ray runtime started", elsewhere / "log", node)
        yield Started(f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}", environment)
    finally:
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(60)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait(60)
            raise


def wait_for(words: str, log: Path, node: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while words not in log.read_text():
        assert node.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def embed(folder: Path, *options: str, environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    """Embed photos that are named relative to `folder`."""
    (folder / "photos").symlink_to(PHOTOS)
    (folder / "tiny").symlink_to(MODEL[1])
    model = ["--model", "tiny", *MODEL[2:]]
    command = [sys.executable, "-m", "pnasnet", "embed", "photos", *model, "-o", "out", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def check(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("out: 4 embedded, 0 failed, in ")
    table = pq.read_table(folder / "out")
    assert table["path"].to_pylist() == NAMES
    assert table["status"].to_pylist() == ["ok"] * 4


@pytest.mark.slow
def test_a_cluster_of_this_machine(tmp_path: Path) -> None:
    environment = {**os.environ, "PNASNET_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    check(tmp_path, embed(tmp_path, "--ray", "--workers", "1", environment=environment))


@pytest.mark.slow
def test_a_cluster_that_was_started_elsewhere(tmp_path: Path, started: Started) -> None:
    """Relative names are the user's, not those of the folder in which `ray start` was called."""
    check(tmp_path, embed(tmp_path, "--address", started.address, environment=started.environment))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_CLIENT, reason="needs ray[client]")
def test_a_client_of_a_cluster(tmp_path: Path, started: Started) -> None:
    done = embed(tmp_path, "--address", started.client_address, environment=started.environment)
    assert done.returncode == 0, done.stderr + said_by_client_servers(Path(started.environment["RAY_TMPDIR"]))
    check(tmp_path, done)


def said_by_client_servers(folder: Path) -> str:
    """Return the end of the logs to which Ray's messages point."""
    return "".join(f"\n{log.name}:\n{log.read_text()[-2000:]}" for log in folder.rglob("ray_client_server*"))


def test_a_client_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    result = run("embed", PHOTOS, *MODEL, "-o", tmp_path / "out", "--address", "ray://127.0.0.1:1")
    message = error_of(result)
    assert message.startswith("ray://127.0.0.1:1 needs Ray's client, which is not installed: pip install 'ray[client]'")
    assert "`auto`" in message
