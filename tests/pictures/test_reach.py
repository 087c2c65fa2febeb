"""What is out of reach for now is left to another run; what is damaged, for good, fails in its rows alone."""

import errno
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions, FeatureFolder, Report, Sources, columns_for, extract_to, keeper, list_units
from pnasnet.extract.feed import Feed, Misses, Reader
from pnasnet.pictures import Picture, Unit, UnreachableError, listing
from pnasnet.pictures import parquet as parquet_files
from pnasnet.pictures import tar as tar_files
from pnasnet.pictures import zip as zip_files

from tests.helpers.corpus import MODEL, jpeg, parquet, pictures, rows_of, tar, write_folder, zipped

SHARDS = ("a.tar", "b.tar.gz", "c.zip", "d.parquet")


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(MODEL, engine="fake")


def run(module: Module, output: Path, units: list[Unit], **options: Any) -> Report:
    chosen = ExtractOptions(**{"batch_size": 2, "decoders": 1, **options})
    return extract_to(output, Sources(lambda: units, ["x"]), columns_for([module], ["global_pool"], chosen), chosen)


def names_in(output: Path) -> list[str]:
    return [str(row["path"]).rpartition("/")[2] for row in rows_of(output)]


@pytest.fixture
def shards(tmp_path: Path) -> list[Unit]:
    """Four shards, between them a folder, each with six pictures."""
    (tmp_path / "a.tar").write_bytes(tar(pictures(6)))
    (tmp_path / "b.tar.gz").write_bytes(tar(pictures(6, 10), "w:gz"))
    folder = write_folder(tmp_path / "folder", pictures(6, 20))
    (tmp_path / "c.zip").write_bytes(zipped(pictures(6, 30)))
    parquet(tmp_path / "d.parquet", [jpeg(number) for number in range(40, 46)])
    return list(list_units([tmp_path / "a.tar", tmp_path / "b.tar.gz", folder, *(tmp_path / s for s in SHARDS[2:])]))


@pytest.mark.parametrize("shard", SHARDS)
def test_a_shard_that_is_gone_is_left_to_another_run(
    module: Module, tmp_path: Path, shards: list[Unit], shard: str
) -> None:
    run(module, tmp_path / "whole", shards)
    (tmp_path / shard).rename(tmp_path / "away")
    count = 2 if shard == "d.parquet" else 1  # its row groups
    with pytest.raises(InputError, match=rf"^{count} of the shards could not be reached, .*{shard}.*No such") as caught:
        run(module, tmp_path / "out", shards)
    assert caught.value.__notes__ == [f"24 rows are kept in {tmp_path}/out; the same command goes on from there"]
    kept = rows_of(tmp_path / "out")
    assert {row["status"] for row in kept} == {"ok"}
    assert not FeatureFolder(tmp_path / "out").is_complete
    (tmp_path / "away").rename(tmp_path / shard)
    run(module, tmp_path / "out", shards)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize(("claimed", "failed"), [(5, 5), (2**40, 1)])
def test_a_damaged_unit_is_not_believed_to_have_any_number_of_pictures(
    tmp_path: Path, claimed: int, failed: int
) -> None:
    """A file of a few hundred bytes may claim them, and a row would be written for each."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    whole = tmp_path / "b.parquet"
    parquet(whole, [jpeg(0)])
    group = next(iter(parquet_files.row_groups(str(whole))))
    assert isinstance(group, parquet_files.RowGroup)
    group = replace(group, path=str(tmp_path / "a.parquet"), rows=claimed)
    assert len(list(islice(Feed(enumerate([group]), {}, Misses(0)), 9))) == failed


def test_who_never_gives_up_gets_failures(module: Module, tmp_path: Path, shards: list[Unit]) -> None:
    for shard in SHARDS:
        (tmp_path / shard).unlink()
    report = run(module, tmp_path / "out", shards, give_up=0)
    assert (report.rows, report.failed) == (6 + 1 + 1 + 1 + 6, 9)
    assert FeatureFolder(tmp_path / "out").is_complete


def test_many_shards_that_are_gone_end_the_run(module: Module, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02d}.tar").write_bytes(tar(pictures(3, 3 * number)))
    units = list(list_units([f"{tmp_path}/*.tar"]))
    for number in range(4, 12):
        (tmp_path / f"{number:02d}.tar").rename(tmp_path / f"{number:02d}")
    with pytest.raises(InputError, match="4 pictures or shards one after the other cannot be reached"):
        run(module, tmp_path / "out", units, give_up=4)
    assert names_in(tmp_path / "out") == list(pictures(12))[: len(rows_of(tmp_path / "out"))]
    for number in range(4, 12):
        (tmp_path / f"{number:02d}").rename(tmp_path / f"{number:02d}.tar")
    run(module, tmp_path / "out", units, give_up=4)
    assert names_in(tmp_path / "out") == list(pictures(36))


def broken(*arguments: Any) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


def test_a_disk_that_fails_within_a_tar(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").write_bytes(tar(pictures(9)))
    (tmp_path / "b.tar").write_bytes(tar(pictures(3, 9)))
    units = list(list_units([tmp_path / "a.tar", tmp_path / "b.tar"]))
    content, read = jpeg(5), os.pread

    def failing(descriptor: int, size: int, place: int) -> bytes:
        found = read(descriptor, size, place)
        return broken(size) if found == content else found

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        patch.setattr(keeper, "PART_SECONDS", 0.0)
        with pytest.raises(InputError, match=r"1 of the shards .*a\.tar/00005\.jpg: cannot be read \(Input/output"):
            run(module, tmp_path / "out", units, give_up=2)  # one shard is one miss, whatever it holds
    assert names_in(tmp_path / "out") == [*pictures(5), *pictures(3, 9)]
    assert {row["status"] for row in rows_of(tmp_path / "out")} == {"ok"}
    run(module, tmp_path / "out", units)
    assert names_in(tmp_path / "out") == list(pictures(12))


def test_a_disk_that_fails_within_a_zip(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zipped(pictures(9)))
    units = list(list_units([tmp_path / "a.zip"]))
    with monkeypatch.context() as patch:
        read = zipfile.ZipExtFile.read
        patch.setattr(
            zipfile.ZipExtFile, "read", lambda file, size: broken(size) if "5" in file.name else read(file, size)
        )
        with pytest.raises(InputError, match=r"1 of the shards .*a\.zip/00005\.jpg: cannot be read \(Input/output"):
            run(module, tmp_path / "out", units)
    assert names_in(tmp_path / "out") == list(pictures(5))
    run(module, tmp_path / "out", units)
    assert names_in(tmp_path / "out") == list(pictures(9))


def test_an_outage_is_not_written_where_units_end_and_in_time(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 3)
    monkeypatch.setattr(keeper, "PART_SECONDS", 0.0)
    folder = write_folder(tmp_path / "folder", pictures(40))
    units = list(list_units([folder]))
    for name in pictures(33, 7):
        (folder / name).rename(tmp_path / name)  # the folder is there, as where files are fetched when they are read
    with pytest.raises(InputError, match=r"30 pictures or shards .*no such file"):
        run(module, tmp_path / "out", units, batch_size=1, give_up=30)
    assert names_in(tmp_path / "out") == list(pictures(7))
    for name in pictures(33, 7):
        (tmp_path / name).rename(folder / name)
    run(module, tmp_path / "out", units)
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok"] * 40


@pytest.mark.parametrize("gone", [(4,), (2, 3, 4, 5, 6), (9, 10), (0, 1)])
def test_files_that_are_gone_while_others_are_there(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: tuple[int, ...]
) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 3)
    folder = write_folder(tmp_path / "folder", pictures(11))
    units = list(list_units([folder]))
    for number in gone:
        (folder / f"{number:05d}.jpg").unlink()
    report = run(module, tmp_path / "out", units)
    assert (report.rows, report.failed) == (11, len(gone))
    assert names_in(tmp_path / "out") == list(pictures(11))
    assert [number for number, row in enumerate(rows_of(tmp_path / "out")) if row["error"]] == list(gone)
    assert FeatureFolder(tmp_path / "out").is_complete


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_files_on_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def failing(path: Path, **options: Any) -> os.stat_result:
        raise OSError(number, os.strerror(number))

    picture = next(next(list_units([write_folder(tmp_path / "folder", pictures(1))])).pictures())
    monkeypatch.setattr(Path, "stat", failing)
    with pytest.raises(UnreachableError, match="cannot be read"):
        Reader(Misses(2))(picture)


@dataclass(frozen=True)
class Halting(Unit):
    """Gives a picture, and then breaks off."""

    kind = "halting"
    count: int
    name = "halting"

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        for number in range(start, self.count):
            yield Picture(str(number), lambda: b"")
            raise UnreachableError("broken off")


def test_tries_begin_anew_after_progress() -> None:
    feed = Feed([(0, Halting(8))], {}, Misses(32))
    assert [picture.name for picture in feed] == list("01234567")
    assert feed.ends[0].unreached is None


class Flaky(io.BytesIO):
    """Fails once, when half of it has been read."""

    failed = False

    def read(self, size: int | None = -1) -> bytes:
        if not Flaky.failed and self.tell() > len(self.getbuffer()) // 2:
            Flaky.failed = True
            raise OSError(errno.EIO, "An error occurred (InternalError)")
        return super().read(size)


def test_a_tar_on_s3_is_read_on_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tar(pictures(9))
    monkeypatch.setattr(tar_files, "_STEP", 512)
    monkeypatch.setattr(tar_files, "open_stream", lambda url: Flaky(whole))
    feed = Feed([(0, tar_files.Tar("s3://bucket/a.tar"))], {}, Misses(32))
    assert [picture.read() for picture in feed] == list(pictures(9).values())
    assert Flaky.failed


def damaged_zip(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in pictures(3).items():
            archive.writestr(name, content)
        info = archive.infolist()[1]
    damaged = bytearray(stream.getvalue())
    start = info.header_offset + 30 + len(info.filename)
    damaged[start + 4 : start + info.compress_size] = b"\xff" * (info.compress_size - 4)
    return bytes(damaged)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_a_zip_fails_alone(module: Module, tmp_path: Path, method: int) -> None:
    (tmp_path / "a.zip").write_bytes(damaged_zip(method))
    report = run(module, tmp_path / "out", list(list_units([tmp_path / "a.zip"])))
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok", "error", "ok"]
    assert "a.zip/00001.jpg: cannot be unpacked (" in report.errors[0]


def test_a_disk_that_fails_at_the_end_of_a_zip(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "_EndRecData", broken)
    (tmp_path / "a.zip").write_bytes(zipped(pictures(2)))
    with pytest.raises(InputError, match=r"1 of the shards .*a\.zip: cannot be read"):
        run(module, tmp_path / "out", list(list_units([tmp_path / "a.zip"])))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_damaged_tar_is_a_failure_and_no_outage(module: Module, tmp_path: Path, kind: str) -> None:
    content = bytearray(tar(pictures(50), f"w:{kind}"))
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    (tmp_path / f"a.tar.{kind}").write_bytes(content)
    run(module, tmp_path / "out", list(list_units([tmp_path / f"a.tar.{kind}"])))
    assert [row["status"] for row in rows_of(tmp_path / "out")][-1:] == ["error"]
    assert FeatureFolder(tmp_path / "out").is_complete


def test_what_is_no_shard_for_good_is_a_failure(module: Module, tmp_path: Path) -> None:
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "round.zip").symlink_to(tmp_path / "round.zip")
    report = run(module, tmp_path / "out", list(list_units([f"{tmp_path}/*.tar", f"{tmp_path}/*.zip"])))
    assert (report.rows, report.failed) == (2, 2)


def breaking(error: Callable[[], Exception]) -> Callable[[str], BinaryIO]:
    """Return what opens files on a server that breaks off."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error()

    return lambda url: Broken(bytes(1000))


def aiohttp_error() -> Exception:
    aiohttp = pytest.importorskip("aiohttp")
    error: Exception = aiohttp.ClientPayloadError("Response payload is not completed")
    return error


def botocore_error() -> Exception:
    exceptions = pytest.importorskip("botocore.exceptions")
    error: Exception = exceptions.EndpointConnectionError(endpoint_url="https://s3")
    return error


@pytest.mark.parametrize("error", [aiohttp_error, botocore_error, lambda: TimeoutError()])
@pytest.mark.parametrize("shard", ["https://host/a.zip", "s3://bucket/a.parquet"])
def test_errors_of_file_systems_end_no_run(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: str, error: Callable[[], Exception]
) -> None:
    for where in (zip_files, parquet_files):
        monkeypatch.setattr(where, "open_url", breaking(error))
    unit = zip_files.Zip(shard) if shard.endswith("zip") else parquet_files.RowGroup(shard, "image", 0, 0, 5)
    with pytest.raises(UnreachableError, match=f"^{shard}: cannot be read"):
        list(unit.pictures())
    folder = write_folder(tmp_path / "folder", pictures(4))
    with pytest.raises(InputError, match="1 of the shards could not be reached"):
        run(module, tmp_path / "out", [unit, *list_units([folder])])
    assert names_in(tmp_path / "out") == list(pictures(4))


def test_errors_within_a_zip_on_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_files, "open_url", lambda url: io.BytesIO(zipped(pictures(2))))
    found = list(zip_files.Zip("https://host/a.zip").pictures())

    def read(file: zipfile.ZipExtFile, size: int) -> bytes:
        raise aiohttp_error()

    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)
    monkeypatch.setattr("pnasnet.pictures.storage._PAUSE", 0.0)
    with pytest.raises(UnreachableError, match=r"a\.zip/00000\.jpg: cannot be read"):
        found[0].read()


def test_rows_after_a_damage_are_failures_each(module: Module, tmp_path: Path) -> None:
    noise = [os.urandom(2000) for _ in range(300)]
    path = parquet(tmp_path / "a.parquet", [*pictures(5).values(), *noise], group=1000)
    units = list(list_units([path]))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : -2000] = bytes(len(content) - len(content) // 2 - 2000)
    path.write_bytes(content)
    report = run(module, tmp_path / "out", units)
    assert report.rows == 305
    assert names_in(tmp_path / "out") == [f"a.parquet#{row}" for row in range(305)]
    assert "a damaged one" in str(rows_of(tmp_path / "out")[-1]["error"])


def test_a_damaged_parquet_file_is_one_failure(module: Module, tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [jpeg(0)])
    (tmp_path / "b.parquet").write_bytes(b"no Parquet file")
    (tmp_path / "c.tar").write_bytes(b"no tar")
    report = run(module, tmp_path / "out", list(list_units([f"{tmp_path}/*.*"])))
    assert (report.rows, report.failed) == (3, 2)
    assert names_in(tmp_path / "out") == ["a.parquet#0", "b.parquet", "c.tar"]
