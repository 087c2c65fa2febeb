"""`pnasnet explore` without a page: embedding-atlas, started and ended."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.chromium import browser_page, wait_until
from tests.helpers.cli_runs import error_of, features, run
from tests.helpers.waiting import free_port, limited, until

__all__ = ["features"]


@contextmanager
def served(features: Path, folder: Path) -> Iterator[str]:
    """Run the command until the block ends; yields the explorer's address."""
    port = free_port()
    command = [sys.executable, "-m", "pnasnet", "explore", str(features), "--port", str(port), "--projection", "pca"]
    command += ["--root", str(folder)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    with limited(process, 600):
        until(lambda: process.poll() is not None or metadata_at(port), 300)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://localhost:{port}/"


def metadata_at(port: int) -> bool:
    """Return whether the explorer answers."""
    try:
        urllib.request.urlopen(f"http://localhost:{port}/data/metadata.json", timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_embedding_atlas_in_a_browser(features: Path, tmp_path: Path) -> None:
    """Its table shows the pictures, and it counts the points. (Its scatter plot needs WebGPU.)"""
    pytest.importorskip("embedding_atlas", reason="the extra explore is not installed")
    with served(features, tmp_path) as address, browser_page() as page:
        page.goto(address)
        page.get_by_text("12 / 12 points").wait_for(timeout=60_000)
        wait_until(page, "[...document.images].filter((i) => i.naturalWidth == 96).length >= 12")
        for name in ("chelsea.jpg", "rocket.jpg"):
            assert page.get_by_text(name).count() >= 1


_SERVER = """
import http.server, os, pathlib, sys, time
print("noise of the server", flush=True)
pathlib.Path("server.pid").write_text(str(os.getpid()))
if os.environ.get("FAIL"):
    sys.exit("no such column")
if os.environ.get("SLOW"):
    time.sleep(600)
http.server.HTTPServer(("localhost", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""
_SERVE = (
    f"SERVER = {_SERVER!r}"
    """
if True:
    import os, sys
    from pnasnet.vectors import atlas
    atlas.atlas_command = lambda table, port: [sys.executable, "-c", SERVER, str(port)]
    atlas._START_SECONDS = float(os.environ.get("SLOW") or 600)
    from pnasnet.cli import main
    main(sys.argv[1:])
"""
)


@contextmanager
def exploring(features: Path, folder: Path, port: int, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """Run the command with a server in place of embedding-atlas; end it after the block."""
    (folder / "temporary").mkdir()
    command = [sys.executable, "-c", _SERVE, "explore", str(features), "--projection", "pca", "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder / "temporary"), **environment},
    )  # fmt: skip
    with limited(process):
        yield process


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_it_leaves_neither_files_nor_a_server(
    features: Path, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    pytest.importorskip("embedding_atlas", reason="the extra explore is not installed")
    port = free_port()
    with exploring(features, tmp_path, port) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"http://localhost:{port}: 12 images; Ctrl-C ends it\n"
        server = int((tmp_path / "server.pid").read_text())
        assert list((tmp_path / "temporary").glob("pnasnet-*/atlas.parquet"))
        process.send_signal(number)
        out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (exit_code, "")
    lines = told.splitlines()
    assert lines[-1] == "error: interrupted"
    assert "waiting for embedding-atlas, which first loads PyTorch; this may take a minute" in lines
    assert "noise" not in told
    assert list((tmp_path / "temporary").glob("pnasnet-*")) == []
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"FAIL": "1"}, "embedding-atlas ended with exit code 1: no such column"),
        (
            {"SLOW": "3"},
            "embedding-atlas did not answer within 3.0 s; its last line: noise of the server; show fewer images with "
            "--points, or try --html FILE instead",
        ),
    ],
)
def test_an_explorer_that_fails_or_never_answers_is_one_line(
    features: Path, tmp_path: Path, server: dict[str, str], message: str
) -> None:
    pytest.importorskip("embedding_atlas", reason="the extra explore is not installed")
    with exploring(features, tmp_path, free_port(), **server) as process:
        out, told = process.communicate(timeout=240)
    assert (process.returncode, out) == (1, "")
    assert told.splitlines()[-1] == f"error: {message}"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "server.pid").read_text()), 0)


def test_a_port_in_use_is_told_before_any_work() -> None:
    pytest.importorskip("embedding_atlas", reason="the extra explore is not installed")
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("explore", "no_features.parquet", "--port", str(port))
    assert error_of(result) == f"port {port} is in use: choose another one with --port"
