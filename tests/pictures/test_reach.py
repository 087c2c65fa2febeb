"""Unreachable files are left to the next run; damaged ones fail in their rows."""

import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions, Report, Sources, columns_for, extract_to, list_units
from pnasnet.extract.folder import FeatureFolder
from pnasnet.pictures import Unit, UnreachableError
from pnasnet.pictures import parquet as parquet_files
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


def broken(*arguments: Any) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


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
    with pytest.raises(InputError, match=r"^1 image or shard .*a\.zip: cannot be read"):
        run(module, tmp_path / "out", list(list_units([tmp_path / "a.zip"])))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_damaged_tar_fails_and_is_not_unreachable(module: Module, tmp_path: Path, kind: str) -> None:
    content = bytearray(tar(pictures(50), f"w:{kind}"))
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    (tmp_path / f"a.tar.{kind}").write_bytes(content)
    run(module, tmp_path / "out", list(list_units([tmp_path / f"a.tar.{kind}"])))
    assert [row["status"] for row in rows_of(tmp_path / "out")][-1:] == ["error"]
    assert FeatureFolder(tmp_path / "out").mark()


def test_a_shard_that_is_a_loop_fails_and_a_folder_with_the_name_of_one_is_a_folder(
    module: Module, tmp_path: Path
) -> None:
    write_folder(tmp_path / "folder.tar", pictures(1))
    (tmp_path / "round.zip").symlink_to(tmp_path / "round.zip")
    report = run(module, tmp_path / "out", list(list_units([f"{tmp_path}/*.tar", f"{tmp_path}/*.zip"])))
    assert (report.rows, report.failed) == (2, 1)


def breaking(error: Callable[[], Exception]) -> Callable[..., BinaryIO]:
    """Return a function that opens files on a server that breaks off."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error()

    return lambda url, hosts: Broken(bytes(1000))


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
def test_errors_of_file_systems_do_not_end_a_run(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: str, error: Callable[[], Exception]
) -> None:
    for where in (zip_files, parquet_files):
        monkeypatch.setattr(where, "open_random", breaking(error))
    unit = zip_files.Zip(shard) if shard.endswith("zip") else parquet_files.RowGroup(shard, "image", 0, 0, 5)
    with pytest.raises(UnreachableError, match=f"^{shard}: cannot be read"):
        list(unit.pictures())
    folder = write_folder(tmp_path / "folder", pictures(4))
    with pytest.raises(InputError, match=r"^1 image or shard could not be reached"):
        run(module, tmp_path / "out", [unit, *list_units([folder])])
    assert names_in(tmp_path / "out")[1:] == list(pictures(4))


def test_errors_within_a_zip_on_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_files, "open_random", lambda url, hosts: io.BytesIO(zipped(pictures(2))))
    found = list(zip_files.Zip("https://host/a.zip").pictures())

    def read(file: zipfile.ZipExtFile, size: int) -> bytes:
        raise aiohttp_error()

    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)
    monkeypatch.setattr("pnasnet.support.http.WAITS", ())
    with pytest.raises(UnreachableError, match=r"a\.zip/00000\.jpg: cannot be read"):
        found[0].read()


def test_each_row_after_damage_fails(module: Module, tmp_path: Path) -> None:
    noise = [os.urandom(2000) for _ in range(300)]
    path = parquet(tmp_path / "a.parquet", [*pictures(5).values(), *noise], group=1000)
    units = list(list_units([path]))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : -2000] = bytes(len(content) - len(content) // 2 - 2000)
    path.write_bytes(content)
    report = run(module, tmp_path / "out", units)
    assert report.rows == 305
    assert names_in(tmp_path / "out") == [f"a.parquet#{row}" for row in range(305)]
    assert "or damaged" in str(rows_of(tmp_path / "out")[-1]["error"])


def test_a_damaged_parquet_file_is_one_failure(module: Module, tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [jpeg(0)])
    (tmp_path / "b.parquet").write_bytes(b"no Parquet file")
    (tmp_path / "c.tar").write_bytes(b"no tar")
    report = run(module, tmp_path / "out", list(list_units([f"{tmp_path}/*.*"])))
    assert (report.rows, report.failed) == (3, 2)
    assert names_in(tmp_path / "out") == ["a.parquet#0", "b.parquet", "c.tar"]
