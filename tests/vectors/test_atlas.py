"""embedding-atlas as a server: waited for, ended, and described if it fails. A small server plays it."""

import socket
import sys
from pathlib import Path

import pytest

from pnasnet.errors import OutputError
from pnasnet.vectors import atlas

from tests.helpers.waiting import free_port, until

_SERVER = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, {on_sigterm})
print("ready", flush=True)
http.server.HTTPServer(("localhost", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


def plays_atlas(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(atlas, "atlas_command", lambda table, port: [sys.executable, "-c", code, str(port)])


def test_a_server_is_waited_for_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays_atlas(monkeypatch, _SERVER.format(on_sigterm="signal.SIG_DFL"))
    port = free_port()
    with atlas.serve_atlas(tmp_path / "t.parquet", port) as server:
        server.wait_until_ready()
        assert server.address == f"http://localhost:{port}"
        with pytest.raises(OutputError, match=f"port {port} is in use: choose another one with --port"):
            atlas.check_port(port)
    atlas.check_port(port)
    assert (tmp_path / "t.log").read_text() == "ready\n"


def test_a_server_that_ignores_the_request_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays_atlas(monkeypatch, _SERVER.format(on_sigterm="signal.SIG_IGN"))
    monkeypatch.setattr(atlas, "_END_SECONDS", 0.1)
    with atlas.serve_atlas(tmp_path / "t.parquet", free_port()) as server:
        until(lambda: (tmp_path / "t.log").read_text() == "ready\n")
    with pytest.raises(OutputError, match="ended with exit code -9: ready"):
        server.wait()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('loads'); raise SystemExit('no such\\x1b[1m column')", r"ended with exit code 1: no such.*column$"),
        ("raise SystemExit(3)", "ended with exit code 3: it printed nothing$"),
        ("pass", "ended before it answered: try --html FILE instead$"),
    ],
)
def test_a_server_that_ends_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    plays_atlas(monkeypatch, code)
    with (
        atlas.serve_atlas(tmp_path / "t.parquet", free_port()) as server,
        pytest.raises(OutputError, match=f"^embedding-atlas {message}") as raised,
    ):
        server.wait_until_ready()
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(("error", "used"), [(TimeoutError, True), (ConnectionRefusedError, False), (OSError, False)])
def test_a_port_that_is_slow_to_answer_is_in_use(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], used: bool
) -> None:
    def fails(address: object, timeout: float) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fails)
    if used:
        with pytest.raises(OutputError, match="port 5055 is in use"):
            atlas.check_port(5055)
    else:
        atlas.check_port(5055)
