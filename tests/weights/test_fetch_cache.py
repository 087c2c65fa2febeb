"""Published weights in the cache: several processes, folders that cannot be written, weights in the package."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pnasnet.architecture.zoo import NETWORKS
from pnasnet.errors import WeightsNotFoundError
from pnasnet.weights import fetch as fetching
from pnasnet.weights.fetch import available, fetch

from tests.helpers.waiting import until
from tests.helpers.weights_files import CHECKPOINTS
from tests.helpers.weights_server import (
    CONTENT,
    HEAD,
    FileServer,
    assert_one_line,
    names,
    pth,
    record,
)

CHECKPOINT = sorted((CHECKPOINTS / "tiny_slim").glob("model.ckpt*"))


class TestCache:
    def test_a_file_that_the_user_put_in_the_cache(self, cache: Path) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth").write_bytes(CONTENT)
        assert fetch(record("http://127.0.0.1:9/net.pth", HEAD)) == cache / "net.pth"

    def test_an_archive_that_the_user_put_in_the_cache(self, cache: Path, server: FileServer) -> None:
        cache.mkdir(parents=True)
        (cache / "net.tar.gz").write_bytes(server.files["/net.tar.gz"])
        net = record("http://127.0.0.1:9/net.tar.gz")
        assert available(net) == "cached"
        assert fetch(net, offline=True) == cache / "net"
        assert names(cache) == ["net", "net.tar.gz"]

    def test_a_folder_that_the_user_put_in_the_cache(self, cache: Path) -> None:
        folder = cache / "net" / "net"
        folder.mkdir(parents=True)
        (folder / "model.ckpt.index").touch()
        assert fetch(record("http://127.0.0.1:9/net.tar.gz"), offline=True) == folder

    def test_a_hugging_face_file_that_the_user_put_in_the_cache(self, cache: Path) -> None:
        path = cache / "timm" / "pnasnet5large.tf_in1k" / "model.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"any")
        timm = NETWORKS["pnasnet_large"].weights[1]
        assert available(timm) == "cached"
        assert fetch(timm, offline=True) == path

    @pytest.mark.parametrize("how", ["argument", "1", "true"])
    def test_offline(self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        if how != "argument":
            monkeypatch.setenv("PNASNET_OFFLINE", how)
        by = "offline=True" if how == "argument" else "PNASNET_OFFLINE"
        with pytest.raises(WeightsNotFoundError, match=f"downloads are disabled by {by}") as caught:
            fetch(pth(server), offline=True if how == "argument" else None)
        assert not server.requests
        assert not cache.exists()
        assert_one_line(caught.value)
        for part in ("net.pth", HEAD, pth(server).location, str(cache / "net.pth"), "weights=FILE"):
            assert part in str(caught.value)

    def test_offline_false_overrides_the_environment(
        self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PNASNET_OFFLINE", "1")
        assert fetch(pth(server), offline=False, progress=False).exists()

    def test_two_processes_download_once(self, cache: Path, server: FileServer) -> None:
        go = threading.Event()
        server.before_body = lambda: go.wait(120)
        code = (
            "import logging; logging.basicConfig(level=logging.INFO);"
            "from pnasnet.weights.fetch import fetch; from pnasnet.architecture.zoo import PublishedWeights as P;"
            f"print(fetch(P('net', '', {server.address + '/net.tar.gz'!r}, 'imagenet1001'), progress=False))"
        )

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", code]
            environment = os.environ | {"PNASNET_OFFLINE": "0"}
            return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        with start() as first:
            until(lambda: bool(server.requests) or first.poll() is not None)
            with start() as second:
                assert second.stderr
                assert "waiting" in second.stderr.readline()
                go.set()
                assert [process.communicate(timeout=120)[0].strip() for process in (first, second)] == [
                    str(cache / "net")
                ] * 2
        assert len(server.requests) == 1


class TestShipped:
    def test_shipped_weights_are_in_the_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "net.safetensors").touch()
        monkeypatch.setattr(fetching, "files", lambda _: tmp_path)
        net = record("package:net.safetensors")
        assert available(net) == "shipped"
        assert fetch(net, offline=True) == tmp_path / "data" / "net.safetensors"

    def test_a_broken_installation_is_reported(self) -> None:
        with pytest.raises(WeightsNotFoundError, match="install pnasnet again"):
            fetch(record("package:missing.safetensors"))
