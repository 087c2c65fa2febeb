"""Published weights: from the cache, or from a server that breaks off, stalls, sends damaged bytes or false headers."""

import errno
import hashlib
import os
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest

from pnasnet.errors import CorruptWeightsError, OutputError, WeightsError, WeightsNotFoundError
from pnasnet.support import http
from pnasnet.weights import download, open_weights
from pnasnet.weights.fetch import available, fetch

from tests.helpers.weights_files import CHECKPOINTS
from tests.helpers.weights_server import (
    CONTENT,
    HEAD,
    FileServer,
    Reply,
    Terminal,
    assert_one_line,
    names,
    pth,
    record,
    tar,
)

CHECKPOINT = sorted((CHECKPOINTS / "tiny_slim").glob("model.ckpt*"))


class TestDownload:
    def test_a_file_is_downloaded_once(self, cache: Path, server: FileServer) -> None:
        assert available(pth(server)) == "downloadable"
        path = fetch(pth(server), progress=False)
        assert path == cache / "net.pth"
        assert path.read_bytes() == CONTENT
        assert names(cache) == ["net.pth"]
        assert available(pth(server)) == "cached"
        assert fetch(pth(server)) == path
        assert len(server.requests) == 1

    def test_an_archive_becomes_a_checkpoint(self, cache: Path, server: FileServer) -> None:
        path = fetch(record(f"{server.address}/net.tar.gz"), progress=False)
        assert path == cache / "net"
        with open_weights(path) as weights:
            assert weights.format == "TensorFlow checkpoint"
        assert names(cache) == ["net"]
        assert fetch(record(f"{server.address}/net.tar.gz"), offline=True) == path

    def test_a_checkpoint_in_a_subfolder_of_its_archive_is_found(self, cache: Path, server: FileServer) -> None:
        server.files["/net.tar.gz"] = tar(*CHECKPOINT, prefix="models/net/")
        path = fetch(record(f"{server.address}/net.tar.gz"), progress=False)
        assert (path / "model.ckpt.index").exists()

    def test_a_broken_download_is_resumed(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(ends_after=100_000), Reply(ends_after=50_000)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
        assert server.requests[1].if_range

    def test_another_run_resumes(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(ends_after=100_000), Reply(ends_after=0), Reply(ends_after=0)]
        with pytest.raises(WeightsNotFoundError, match=r"broke off after 100,000 of 512,000 bytes") as caught:
            fetch(pth(server), progress=False)
        assert_one_line(caught.value)
        assert names(cache) == ["net.pth.partial", "net.pth.partial.version"]
        assert available(pth(server)) == "downloadable"
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges[-1] == "bytes=100000-"
        assert names(cache) == ["net.pth"]

    def test_a_server_that_cannot_resume_sends_the_whole_file(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(ends_after=100_000), Reply(ranges=False)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_a_file_without_version_is_not_resumed(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(ends_after=100_000, etag=""), Reply()]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None, None]

    def test_a_weak_version_is_not_resumed(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(ends_after=100_000, etag='W/"1"'), Reply()]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None, None]

    def test_a_date_serves_as_version(self, cache: Path, server: FileServer) -> None:
        date = "Wed, 13 Dec 2017 00:00:00 GMT"
        server.extra_headers["Last-Modified"] = date
        server.replies = [Reply(ends_after=100_000, etag=""), Reply(etag="")]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.requests[1].if_range == date

    def test_two_versions_of_a_file_are_not_mixed(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(ends_after=100_000, etag='"old"', body=bytes(len(CONTENT)))]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.requests[1].if_range == '"old"'

    @pytest.mark.parametrize("shift", [-1, 1000])
    def test_a_rest_from_another_position_is_not_appended(self, cache: Path, server: FileServer, shift: int) -> None:
        server.replies = [Reply(ends_after=100_000), Reply(range_shift=shift)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None, "bytes=100000-", None]

    def test_a_partial_file_longer_than_the_file_is_discarded(self, cache: Path, server: FileServer) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth.partial").write_bytes(bytes(len(CONTENT) + 5))
        (cache / "net.pth.partial.version").write_text(f'"{hashlib.sha256(CONTENT).hexdigest()}"')
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_a_version_without_its_bytes_is_not_resumed(self, cache: Path, server: FileServer) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth.partial.version").write_text('"1"')
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None]

    def test_a_damaged_version_is_not_resumed(self, cache: Path, server: FileServer) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth.partial").write_bytes(CONTENT[:1000])
        (cache / "net.pth.partial.version").write_bytes(b'"\xff\n"')
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None]

    def test_a_rest_that_was_not_requested_is_not_used(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(status=206)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert server.ranges == [None, None]

    def test_a_silent_server_is_given_up(
        self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "SILENT_SECONDS", 2)
        http._pool.cache_clear()
        server.replies = [Reply(ends_after=100_000, stalls=True)]
        start = time.monotonic()
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT
        assert time.monotonic() - start < 60
        assert server.ranges == [None, "bytes=100000-"]

    def test_bytes_beyond_the_announced_length_are_ignored(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(body=CONTENT + b"more", announced=len(CONTENT))]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_an_announced_size_beyond_the_limit_is_refused(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(announced=10**15)]
        with pytest.raises(WeightsNotFoundError, match=r"announces 1,000,000,000,000,000 bytes"):
            fetch(pth(server), progress=False)

    def test_a_length_of_thousands_of_digits_is_no_length(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(announced="9" * 5000)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_an_endless_body_is_cut_off(self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "MAX_BYTES", 2**20)
        server.replies = [Reply(announced=-1, endless=True)]
        with pytest.raises(WeightsNotFoundError, match="more than the limit of 1,048,576 bytes"):
            fetch(pth(server), progress=False)
        assert names(cache) == []

    def test_a_length_need_not_be_announced(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(announced=-1)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_a_signature_is_neither_shown_nor_in_a_file_name(self, cache: Path, server: FileServer) -> None:
        signed = f"{server.address.replace('http://', 'http://me:s3cret@')}/net.pth?X-Amz-Signature=s3cret"
        with pytest.raises(WeightsNotFoundError, match=f"download {server.address}/net.pth ") as caught:
            fetch(record(signed), offline=True)
        assert "s3cret" not in str(caught.value)
        server.files["/net.pth?X-Amz-Signature=s3cret"] = CONTENT
        assert fetch(record(signed), progress=False) == cache / "net.pth"

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_a_refusal_is_final(self, cache: Path, server: FileServer, status: int) -> None:
        server.replies = [Reply(status=status)]
        with pytest.raises(WeightsNotFoundError, match=f"answers {status} ") as caught:
            fetch(pth(server), progress=False)
        assert_one_line(caught.value)
        assert len(server.requests) == 1

    def test_a_failed_request_is_retried(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(status=500), Reply(status=503)]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_a_server_that_always_fails_is_given_up(self, cache: Path, server: FileServer) -> None:
        server.replies = [Reply(status=500)] * 10
        with pytest.raises(WeightsNotFoundError, match="answers 500 "):
            fetch(pth(server), progress=False)
        assert len(server.requests) == 3

    def test_no_server(self, cache: Path) -> None:
        with pytest.raises(WeightsNotFoundError, match="connection failed") as caught:
            fetch(record("http://127.0.0.1:9/net.tar.gz"), progress=False)
        assert_one_line(caught.value)

    @pytest.mark.parametrize("wanted", [True, False])
    def test_the_progress_is_shown(
        self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch, wanted: bool
    ) -> None:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        fetch(pth(server), progress=wanted)
        assert ("500k/500k" in terminal.getvalue()) == wanted
        assert wanted or not terminal.getvalue()


class TestDamage:
    def test_a_wrong_checksum_is_refused_and_the_next_call_downloads_again(
        self, cache: Path, server: FileServer
    ) -> None:
        server.replies = [Reply(body=CONTENT[:-1] + b"x")]
        with pytest.raises(CorruptWeightsError, match=f"does not begin with {HEAD}.*try again") as caught:
            fetch(pth(server), progress=False)
        assert_one_line(caught.value)
        assert names(cache) == ["net.pth.damaged"]
        assert fetch(pth(server), progress=False).read_bytes() == CONTENT

    def test_a_file_that_the_user_put_in_the_cache_is_checked(self, cache: Path, server: FileServer) -> None:
        cache.mkdir(parents=True)
        (cache / "net.pth").write_bytes(b"another")
        with pytest.raises(CorruptWeightsError, match=HEAD):
            fetch(pth(server), offline=True)

    @pytest.mark.parametrize("flaw", ["flipped byte", "cut", "no gzip", "leads out", "link", "no checkpoint"])
    def test_a_bad_archive_is_refused_and_the_next_call_downloads_again(
        self, cache: Path, server: FileServer, tmp_path: Path, flaw: str
    ) -> None:
        good = server.files["/net.tar.gz"]
        link = tmp_path / "model.ckpt.index"
        link.symlink_to("/etc/passwd")
        body = {
            "flipped byte": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
            "cut": good[:-1000],
            "no gzip": b"<html>Please sign in</html>",
            "leads out": tar(*CHECKPOINT, prefix="../"),
            "link": tar(link),
            "no checkpoint": tar(Path(__file__)),
        }[flaw]
        server.replies = [Reply(body=body)]
        net = record(f"{server.address}/net.tar.gz")
        with pytest.raises(CorruptWeightsError, match="try again") as caught:
            fetch(net, progress=False)
        assert_one_line(caught.value)
        assert names(cache) == ["net.tar.gz.damaged"]
        assert not list(tmp_path.glob("**/*.ckpt.data*"))
        assert fetch(net, progress=False) == cache / "net"

    def test_a_folder_without_checkpoint_is_refused(self, cache: Path) -> None:
        (cache / "net").mkdir(parents=True)
        with pytest.raises(CorruptWeightsError, match="no TensorFlow checkpoint"):
            fetch(record("http://127.0.0.1:9/net.tar.gz"))


class TestDisk:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_a_full_disk(self, cache: Path, server: FileServer) -> None:
        cache.mkdir(parents=True)
        (cache / "good.pth").write_bytes(b"good")
        (cache / "net.pth.partial").symlink_to("/dev/full")
        with pytest.raises(OutputError, match=r"No space left.*PNASNET_CACHE") as caught:
            fetch(pth(server), progress=False)
        assert_one_line(caught.value)
        assert (cache / "good.pth").exists()

    def test_an_archive_that_cannot_be_unpacked_is_kept(
        self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fill(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "move", fill)
            with pytest.raises(OutputError, match="No space left"):
                fetch(record(f"{server.address}/net.tar.gz"), progress=False)
        assert names(cache) == ["net.tar.gz"]
        assert fetch(record(f"{server.address}/net.tar.gz"), offline=True) == cache / "net"

    def test_temporary_files_may_vanish_once_they_are_moved(
        self, cache: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As programs that clean temporary folders do it."""
        move = shutil.move

        def move_and_clean(source: Path, target: Path) -> None:
            move(source, target)
            if not any(source.parent.iterdir()):
                source.parent.rmdir()

        monkeypatch.setattr(shutil, "move", move_and_clean)
        assert fetch(record(f"{server.address}/net.tar.gz"), progress=False) == cache / "net"

    def test_an_unpacked_archive_has_the_permissions_of_the_umask(self, cache: Path, server: FileServer) -> None:
        """Temporary folders are readable by their owner alone, and the unpacked folder was created as one."""
        folder = fetch(record(f"{server.address}/net.tar.gz"), progress=False)
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(cache.stat().st_mode)

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
    def test_a_folder_of_another_user_is_not_called_damaged(self, cache: Path) -> None:
        (cache / "net").mkdir(parents=True, mode=0)
        with pytest.raises(WeightsError, match=r"cannot read .*net: Permission denied"):
            fetch(record("http://127.0.0.1:9/net.tar.gz"))
        assert names(cache) == ["net"]

    def test_a_cache_that_is_a_file(self, tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("PNASNET_CACHE", str(tmp_path / "file"))
        with pytest.raises(OutputError, match="PNASNET_CACHE"):
            fetch(pth(server), offline=False, progress=False)
