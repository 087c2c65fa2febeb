"""The stream of images over all units: retries, ends, and outages."""

import errno
import io
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pnasnet.errors import ImageError
from pnasnet.extract import feed as feed_file
from pnasnet.extract import list_units
from pnasnet.extract.feed import feed, read_ahead, read_picture
from pnasnet.pictures import PassedOver, Picture, Unit, UnreachableError, storage
from pnasnet.pictures import parquet as parquet_files
from pnasnet.pictures import tar as tar_files
from pnasnet.support import http

from tests.helpers.corpus import jpeg, parquet, pictures, tar, write_folder


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_files_on_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def failing(path: Path, **options: Any) -> os.stat_result:
        raise OSError(number, os.strerror(number))

    picture = next(next(list_units([write_folder(tmp_path / "folder", pictures(1))])).pictures())
    monkeypatch.setattr(Path, "stat", failing)
    with pytest.raises(UnreachableError, match="cannot be read"):
        read_picture(picture)


def test_an_image_whose_source_fails_while_it_is_read() -> None:
    def failing() -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(ImageError, match=r"^a.tar/x.jpg: cannot be read \(Input/output error\): check the disk$"):
        read_picture(Picture("a.tar/x.jpg", failing))


@dataclass(frozen=True)
class Halting(Unit):
    """Yields an image, and then breaks off."""

    kind = "halting"
    count: int
    name = "halting"

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        for number in range(start, self.count):
            yield Picture(str(number), lambda: b"")
            raise UnreachableError("broken off")


def test_tries_are_counted_again_after_progress() -> None:
    found = list(feed([(0, Halting(8))], {}))
    assert [picture.name for picture, _ in found] == list("01234567")
    assert [place.last for _, place in found] == [False] * 7 + [True]


class Flaky(io.BytesIO):
    """Fails once, after half of it has been read."""

    failed = False

    def read(self, size: int | None = -1) -> bytes:
        if not Flaky.failed and self.tell() > len(self.getbuffer()) // 2:
            Flaky.failed = True
            raise OSError(errno.EIO, "An error occurred (InternalError)")
        return super().read(size)


def test_a_tar_on_s3_is_resumed_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tar(pictures(9))
    monkeypatch.setattr(http, "BLOCK", 512)
    monkeypatch.setattr(storage, "open_url", lambda url: Flaky(whole))
    found = feed([(0, tar_files.Tar("s3://bucket/a.tar"))], {})
    assert [picture.read() for picture, _ in found] == list(pictures(9).values())
    assert Flaky.failed


@pytest.mark.parametrize(("claimed", "failed"), [(5, 5), (2**40, 1)])
def test_the_stated_size_of_a_damaged_unit_is_bounded(tmp_path: Path, claimed: int, failed: int) -> None:
    """A file of a few hundred bytes could claim them, and each would become a row."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    whole = tmp_path / "b.parquet"
    parquet(whole, [jpeg(0)])
    group = next(iter(parquet_files.row_groups(str(whole))))
    assert isinstance(group, parquet_files.RowGroup)
    group = replace(group, path=str(tmp_path / "a.parquet"), rows=claimed)
    assert len(list(islice(feed(enumerate([group]), {}, outages_fail=True), 9))) == failed


def test_a_file_that_is_missing_among_others_is_an_error_and_an_empty_folder_an_outage(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(2))
    found = [picture for picture, _ in feed(enumerate(list_units([folder])), {})]
    (folder / "00000.jpg").unlink()
    with pytest.raises(ImageError, match="no such file") as caught:
        read_picture(found[0])
    assert not isinstance(caught.value, UnreachableError)
    (folder / "00001.jpg").unlink()
    for _ in range(2):
        with pytest.raises(UnreachableError, match="its folder is missing or empty: check the path and the disk"):
            read_picture(found[1])
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("held", "waiting"), [(60, 1), (50, 2), (500, 1), (0, 8)])
def test_bytes_read_ahead_are_bounded(monkeypatch: pytest.MonkeyPatch, held: int, waiting: int) -> None:
    """At most 100 here; an image that is larger waits alone."""
    monkeypatch.setattr(feed_file, "AHEAD_BYTES", 100)
    made: list[int] = []

    def source() -> Iterator[Picture]:
        for number in range(9):
            made.append(number)
            yield Picture(str(number), lambda: b"", held=held)

    with closing(read_ahead(source())) as found:
        first = next(found)
        wanted = min(1 + waiting + 1, 9)  # the first one, those that wait, and one that cannot be put yet
        deadline = time.monotonic() + 30
        while len(made) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(made) == wanted
        assert [picture.name for picture in (first, *found)] == list("012345678")
