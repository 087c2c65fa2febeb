"""Weights on Hugging Face: its real client against a server of ours that answers as the Hub does."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest

from pnasnet.architecture.zoo import PublishedWeights
from pnasnet.errors import CorruptWeightsError, OutputError, WeightsNotFoundError
from pnasnet.weights.fetch import available, fetch

from tests.helpers.weights_server import CONTENT, FileServer, Reply, Terminal, assert_one_line, serve

COMMIT = "f9a5fe500f179855bb3b97d9550b32b2cc78c0da"
NET = PublishedWeights("some-net", "somebody", "hf:some/net/model.safetensors", "imagenet1000", revision=COMMIT)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PNASNET_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serve() as files:
        files.files |= {f"/some/net/resolve/{commit}/model.safetensors": CONTENT for commit in (COMMIT, "main")}
        files.extra_headers["X-Repo-Commit"] = COMMIT
        monkeypatch.setenv("HF_ENDPOINT", files.address)
        yield files
        huggingface_hub.close_session()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attempts follow each other at once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.mark.parametrize("revision", [COMMIT, None])
def test_a_file_is_downloaded_once(server: FileServer, tmp_path: Path, revision: str | None) -> None:
    net = replace(NET, revision=revision)
    assert available(net) == "downloadable"
    path = fetch(net, progress=False)
    assert path.is_relative_to(tmp_path / "hub")
    assert path.read_bytes() == CONTENT
    asked = len(server.requests)
    assert {request.path.split("/")[4] for request in server.requests} == {revision or "main"}
    assert available(net) == "cached"
    assert fetch(net) == fetch(net, offline=True) == path
    assert len(server.requests) == asked


def test_a_broken_download_is_retried_without_a_log_line(
    server: FileServer, impatient: None, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("huggingface_hub")
    log.addHandler(caplog.handler)
    server.replies = [Reply(ends_after=100_000)]
    assert fetch(NET).read_bytes() == CONTENT
    log.removeHandler(caplog.handler)
    assert [request.method for request in server.requests] == ["HEAD", "GET", "GET"]
    assert not caplog.records


@pytest.mark.parametrize("wanted", [True, False])
def test_the_progress_is_shown(server: FileServer, monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(NET, progress=wanted)
    assert ("model.safetensors" in terminal.getvalue()) == wanted
    assert wanted or not terminal.getvalue()


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_the_settings_of_the_client_are_restored(server: FileServer, shown: bool, wanted: bool) -> None:
    from huggingface_hub.utils.logging import get_verbosity
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity = get_verbosity()
    (enable_progress_bars if shown else disable_progress_bars)()
    try:
        fetch(NET, progress=wanted)
        assert are_progress_bars_disabled() == (not shown)
    finally:
        enable_progress_bars()
    assert get_verbosity() == verbosity


def test_damage_of_the_same_length_is_found_and_the_next_call_downloads_again(
    server: FileServer, tmp_path: Path
) -> None:
    server.replies = [Reply(body=CONTENT[:-1] + b"x")]
    with pytest.raises(CorruptWeightsError, match="try again") as caught:
        fetch(NET, progress=False)
    assert_one_line(caught.value)
    assert available(NET) == "downloadable"
    assert fetch(NET, progress=False).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("header", "status", "message"),
    [("EntryNotFound", 404, "404"), ("RevisionNotFound", 404, "404"), ("GatedRepo", 403, "403")],
)
def test_a_refusal(server: FileServer, header: str, status: int, message: str) -> None:
    server.refusal = (status, {"X-Error-Code": header})
    with pytest.raises(WeightsNotFoundError, match=message) as caught:
        fetch(NET, progress=False)
    assert_one_line(caught.value)
    address = f"https://huggingface.co/some/net/resolve/{COMMIT}/model.safetensors"
    for part in (address, str(Path(os.environ["PNASNET_CACHE"], "weights/some/net/model.safetensors")), "weights=FILE"):
        assert part in str(caught.value)


def test_a_server_that_always_fails(server: FileServer, impatient: None) -> None:
    server.refusal = (500, {})
    with pytest.raises(WeightsNotFoundError, match="500") as caught:
        fetch(NET, progress=False)
    assert_one_line(caught.value)


def test_no_server(server: FileServer, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsNotFoundError, match="refused") as caught:
        fetch(NET, progress=False)
    assert_one_line(caught.value)


def test_offline(server: FileServer) -> None:
    with pytest.raises(WeightsNotFoundError, match="downloads are disabled"):
        fetch(NET, offline=True)
    assert not server.requests


def test_a_cache_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "hub").touch()
    with pytest.raises(OutputError, match="HF_HOME") as caught:
        fetch(NET, progress=False)
    assert_one_line(caught.value)


def test_the_settings_of_hugging_face_hold(server: FileServer, tmp_path: Path) -> None:
    code = (
        "from pnasnet.architecture.zoo import PublishedWeights; from pnasnet.weights.fetch import fetch; "
        f"print(fetch({NET!r}))"
    )
    settings = os.environ | {"HF_HOME": str(tmp_path / "home")}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env=settings | more, capture_output=True, text=True, timeout=60, check=False
        )

    forbidden = run(HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in forbidden.stderr.splitlines()[-1]
    assert not server.requests
    path = Path(run().stdout.strip())
    assert path.is_relative_to(tmp_path / "home")
    assert run(HF_HUB_OFFLINE="1").stdout.strip() == str(path)
