"""`pnasnet serve --ray`: the same answers by replicas on a cluster of this machine, and a clean end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from pnasnet import Module

from tests.helpers.cli_runs import error_of, run
from tests.helpers.serving import CHECKPOINT, encoded
from tests.helpers.waiting import free_port, limited, until

pytestmark = pytest.mark.usefixtures("only_cluster")

STARTED = 180.0


class Process:
    """A server whose log is read by a thread."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.url, self.lines = process, f"http://127.0.0.1:{port}", list[str]()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for(self, words: str) -> None:
        until(lambda: re.search(words, self.log) is not None or self.process.poll() is not None, STARTED)
        assert self.process.poll() is None, self.log

    def post(self, path: str, **given: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=60, **given)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Process]:
    port = free_port()
    environment = {**os.environ, "PNASNET_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder)}
    command = [sys.executable, "-m", "pnasnet", "serve", str(CHECKPOINT), "--port", str(port), *options]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, start_new_session=True
    )
    with limited(process, 600):
        yield Process(process, port)


@pytest.mark.slow
def test_replicas_answer_as_the_module_and_end_when_asked(ray_folder: str) -> None:
    pytest.importorskip("ray.serve")
    images = [encoded(seed) for seed in range(8)]
    expected = Module(str(CHECKPOINT)).embed(images)
    floats = {"Accept": "application/octet-stream"}
    with (
        serving(Path(ray_folder), "--ray", "--replicas", "2", "--drain", "30") as server,
        ThreadPoolExecutor(8) as pool,
    ):
        server.wait_for("listening on http://127.0.0.1:\\d+, with 2 replicas")
        answers = list(pool.map(lambda image: server.post("/embed", data=image, headers=floats), images))
        for answer, row in zip(answers, expected, strict=True):
            assert answer.status_code == 200
            assert (np.frombuffer(answer.content, "<f4") == row).all()
        assert server.post("/embed", data=b"no image").status_code == 400
        assert server.post("/embed", data=bytes((32 << 20) + 1)).status_code == 413
        assert requests.get(server.url + "/v2/health/ready", timeout=60).json() == {"ready": True}
        posted = [pool.submit(server.post, "/embed", files=[("i", image) for image in images] * 8) for _ in range(4)]
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(120) == 0, server.log
        assert {each.result().status_code for each in posted} <= {200, 404, 503}
        assert "Traceback" not in server.log
    with pytest.raises(requests.ConnectionError):
        server.post("/embed", data=images[0])


@pytest.mark.slow
def test_a_cluster_without_room(ray_folder: str) -> None:
    pytest.importorskip("ray.serve")
    with serving(Path(ray_folder), "--ray", "--replicas", "1000") as server:
        assert server.process.wait(STARTED) == 1
        until(lambda: "the cluster has no room for 1,000 replicas of 1 processor" in server.log)


def test_ray_serve_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "ray.serve"):
        monkeypatch.setitem(sys.modules, name, None)
    message = error_of(run("serve", CHECKPOINT, "--engine", "fake", "--ray"))
    assert message == (
        "serving on a cluster needs ray[serve], which is not installed: pip install 'pnasnet[serve-ray]'"
    )


def test_replicas_need_a_cluster() -> None:
    result = run("serve", CHECKPOINT, "--replicas", "2")
    assert result.exit_code == 2
    assert "--replicas can only be used on a cluster: add --ray or --address" in result.stderr
