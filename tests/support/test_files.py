import errno
import os
import time
from pathlib import Path

import pytest

from pnasnet.errors import CorruptWeightsError, InputError, OutputError
from pnasnet.support.files import (
    check_target,
    read_head,
    read_json,
    reading,
    remove_temporaries,
    replacing,
    write_json,
    write_text,
    writing,
)

from tests.helpers.disks import small_disk_at


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "first\n")

    def stop_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_halfway()
    assert path.read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    with small_disk_at(tmp_path / "disk", "64k") as disk:
        path = disk / "a.txt"
        write_text(path, "first")
        with pytest.raises(OutputError, match=r"cannot write .*a\.txt: No space left on device; free some space, or"):
            write_text(path, "x" * 1_000_000)
        assert path.read_text() == "first"
        assert list(disk.iterdir()) == [path]


def test_temporaries_of_killed_runs_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a[1].parquet"
    old, new = tmp_path / ".0a1b2c3d.a[1].parquet", tmp_path / ".0a1b2c3e.a[1].parquet"
    others = [tmp_path / name for name in (".my.a[1].parquet", ".0a1b2c3d.a1.parquet", ".0a1b2c3d.b.parquet", "x")]
    for file in (old, new, *others):
        file.write_bytes(b"")
        if file is not new:
            os.utime(file, (time.time() - 7200,) * 2)
    write_text(path, "")
    assert sorted(tmp_path.iterdir()) == sorted([path, new, *others])
    remove_temporaries(path, older_than=0)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_json_is_read_back_and_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, "é"]})
    assert read_json(path) == {"a": [1, "é"]}
    for damaged in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.json is damaged .*: remove it"):
            read_json(path, hint="remove it")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory; check"):
        read_json(tmp_path)


def test_the_reason_the_target_and_the_hint_are_one_line(tmp_path: Path) -> None:
    missing = r"No such file or directory"
    with pytest.raises(OutputError, match=rf"^cannot write x: {missing}; go$"), writing("x", "go"):
        (tmp_path / "no" / "file").write_text("")
    with (
        pytest.raises(CorruptWeightsError, match=rf"^cannot read y: {missing}; check"),
        reading("y", kind=CorruptWeightsError),
    ):
        (tmp_path / "no").read_text()


def test_a_target_is_checked_before_the_work(tmp_path: Path) -> None:
    check_target(tmp_path / "a")
    with pytest.raises(OutputError, match="it is a folder; name a file"):
        check_target(tmp_path)
    with pytest.raises(OutputError, match="there is no folder"):
        check_target(tmp_path / "no" / "a")


def test_a_target_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"photo\.jpg: name a file that ends in \.html"):
        check_target(tmp_path / "photo.jpg", ".html")
    check_target(tmp_path / "page.HTML", ".html")


def test_a_target_that_is_an_input_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.touch()
    (tmp_path / "link.html").symlink_to(page)
    with pytest.raises(OutputError, match="it is also an input; choose another name"):
        check_target(tmp_path / "link.html", ".html", [tmp_path / "missing", page])
    check_target(tmp_path / "other.html", ".html", [page])


def test_only_a_full_disk_needs_space(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"No such file or directory; choose another folder$"), writing("a"):
        (tmp_path / "none" / "a").write_text("")
    with pytest.raises(OutputError, match=r"; free some space, or choose another folder$"), writing("a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_head_of_a_regular_file_alone_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert read_head(tmp_path / "file", 2) == b"ab"
    assert [read_head(tmp_path / name, 2) for name in ("pipe", "zero", "missing", ".")] == [b""] * 4
