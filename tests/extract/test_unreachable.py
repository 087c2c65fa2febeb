"""Rows that failed for a reason outside the picture are computed again by the same command, and no others are."""

import errno
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pnasnet import Module
from pnasnet.errors import InputError
from pnasnet.extract import ExtractOptions, Report, Sources, columns_for, extract_to, keeper, list_units
from pnasnet.extract import feed as reading
from pnasnet.extract.folder import FeatureFolder
from pnasnet.extract.output import Mode
from pnasnet.pictures import PassedOver, Picture, Unit, UnreachableError, listing

from tests.helpers.corpus import MODEL, jpeg, parquet, pictures, rows_of, tar, write_folder, zipped
from tests.helpers.extract_runs import run as extract

SHARDS = ("a.tar", "b.tar.gz", "c.zip", "d.parquet")


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(MODEL, engine="fake")


def run(module: Module, output: Path, units: list[Unit], mode: Mode | None = None, **options: Any) -> Report:
    chosen = ExtractOptions(**{"batch_size": 2, "decoders": 1, **options})
    columns = columns_for([module], ["global_pool"], chosen)
    return extract_to(output, Sources(lambda: units, ["x"]), columns, chosen, mode=mode)


def names_in(output: Path) -> list[str]:
    return [str(row["path"]).rpartition("/")[2] for row in rows_of(output)]


def statuses(output: Path) -> list[str]:
    return [str(row["status"]) for row in rows_of(output)]


@pytest.fixture
def shards(tmp_path: Path) -> list[Unit]:
    """Four shards and a folder between them, each with six images."""
    (tmp_path / "a.tar").write_bytes(tar(pictures(6)))
    (tmp_path / "b.tar.gz").write_bytes(tar(pictures(6, 10), "w:gz"))
    folder = write_folder(tmp_path / "folder", pictures(6, 20))
    (tmp_path / "c.zip").write_bytes(zipped(pictures(6, 30)))
    parquet(tmp_path / "d.parquet", [jpeg(number) for number in range(40, 46)])
    return list(list_units([tmp_path / "a.tar", tmp_path / "b.tar.gz", folder, *(tmp_path / s for s in SHARDS[2:])]))


@pytest.mark.parametrize("shard", SHARDS)
def test_a_missing_shard_is_left_to_another_run(module: Module, tmp_path: Path, shards: list[Unit], shard: str) -> None:
    run(module, tmp_path / "whole", shards)
    (tmp_path / shard).rename(tmp_path / "away")
    count = 2 if shard == "d.parquet" else 1  # its row groups
    with pytest.raises(
        InputError, match=rf"^{count} images? or shards? could not be reached, .*{shard}.*No such"
    ) as caught:
        run(module, tmp_path / "out", shards)
    assert caught.value.__notes__ == [f"24 rows are kept in {tmp_path}/out; repeat the command to resume"]
    assert statuses(tmp_path / "out").count("unreachable") == count
    assert set(statuses(tmp_path / "out")) == {"ok", "unreachable"}
    assert not FeatureFolder(tmp_path / "out").mark()
    (tmp_path / "away").rename(tmp_path / shard)
    run(module, tmp_path / "out", shards)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_give_up_0_records_unreachable_shards_as_failed(module: Module, tmp_path: Path, shards: list[Unit]) -> None:
    for shard in SHARDS:
        (tmp_path / shard).unlink()
    report = run(module, tmp_path / "out", shards, give_up=0)
    assert (report.rows, report.failed) == (6 + 1 + 1 + 1 + 6, 9)
    assert FeatureFolder(tmp_path / "out").mark()


def test_many_missing_shards_end_the_run(module: Module, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02d}.tar").write_bytes(tar(pictures(3, 3 * number)))
    units = list(list_units([f"{tmp_path}/*.tar"]))
    for number in range(4, 12):
        (tmp_path / f"{number:02d}.tar").rename(tmp_path / f"{number:02d}")
    with pytest.raises(InputError, match="4 images or shards in sequence cannot be reached"):
        run(module, tmp_path / "out", units, give_up=4)
    found = statuses(tmp_path / "out")
    assert (found[:12], set(found[12:])) == (["ok"] * 12, {"unreachable"})
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
        with pytest.raises(InputError, match=r"^1 image or shard .*a\.tar/00005\.jpg: cannot be read \(Input/output"):
            run(module, tmp_path / "out", units, give_up=2)
    assert names_in(tmp_path / "out") == list(pictures(12))
    assert [place for place, status in enumerate(statuses(tmp_path / "out")) if status != "ok"] == [5]
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
        with pytest.raises(InputError, match=r"^1 image or shard .*a\.zip/00005\.jpg: cannot be read \(Input/output"):
            run(module, tmp_path / "out", units)
    assert statuses(tmp_path / "out") == ["ok"] * 5 + ["unreachable"] + ["ok"] * 3
    run(module, tmp_path / "out", units)
    assert names_in(tmp_path / "out") == list(pictures(9))


@pytest.mark.parametrize("gone", [(4,), (2, 3, 4, 5, 6), (9, 10), (0, 1)])
def test_missing_files_among_others(
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
    assert FeatureFolder(tmp_path / "out").mark()


def test_give_up_0_records_unreachable_images_as_failed(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(5))
    unit = next(list_units([folder]))
    shutil.rmtree(folder)
    options = ExtractOptions(give_up=0)
    columns = columns_for([module], ["global_pool"], options)
    report = extract_to(tmp_path / "out", Sources(lambda: [unit], ["gone"]), columns, options)
    assert (report.rows, report.failed) == (5, 5)
    assert "its folder is missing or empty" in report.errors[0]


def test_a_source_that_disappears_ends_the_run_and_can_return(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(30))
    options = ExtractOptions(batch_size=3, give_up=8)

    def unmount(stage: str, done: int, total: int | None) -> None:
        if done and folder.exists():
            folder.rename(tmp_path / "away")

    with pytest.raises(InputError, match="8 images or shards in sequence cannot be reached") as caught:
        extract(module, tmp_path / "out", folder, options=options, progress=unmount)
    assert "repeat the command to resume" in caught.value.__notes__[0]
    assert [row["status"] for row in rows_of(tmp_path / "out")[-8:]] == ["unreachable"] * 8
    assert "error" not in {row["status"] for row in rows_of(tmp_path / "out")}
    (tmp_path / "away").rename(folder)
    extract(module, tmp_path / "out", folder, options=options)
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok"] * 30


def test_only_unreachable_rows_are_read_again(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 8)
    folder = write_folder(tmp_path / "folder", {**pictures(20), "00004.jpg": b"no picture"})
    lost, read = {"00003.jpg", "00009.jpg", "00010.jpg", "00019.jpg"}, set[str]()
    read_listed = reading._read_listed

    def failing(path: str) -> bytes:
        read.add(Path(path).name)
        if Path(path).name in lost:
            raise UnreachableError(f"{path}: stale")
        return read_listed(path)

    extract(module, tmp_path / "whole", folder)
    monkeypatch.setattr(reading, "_read_listed", failing)
    for expected, left in ((set(pictures(20)), {"00009.jpg"}), (set(lost), set[str]())):
        with pytest.raises(InputError, match=r"could not be reached, such as .*stale; repeat the command"):
            extract(module, tmp_path / "out", folder)
        assert read == expected
        read.clear()
        lost &= left or {"00009.jpg"}
    lost.clear()
    report = extract(module, tmp_path / "out", folder)
    assert (read, report.rows, report.kept, report.failed, report.failed_before) == ({"00009.jpg"}, 1, 19, 1, 1)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert [part.name for part in FeatureFolder(tmp_path / "out").parts()] == [
        part.name for part in FeatureFolder(tmp_path / "whole").parts()
    ]


def test_retry_errors_reads_failed_rows_again(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", {**pictures(6), "00002.jpg": b"cut", "00004.jpg": b"cut"})
    (tmp_path / "a.tar").write_bytes(tar(pictures(5, 10))[:2500])
    (tmp_path / "b.tar").write_bytes(tar(pictures(2, 20)))
    sources = [folder, tmp_path / "a.tar", tmp_path / "b.tar"]
    first = extract(module, tmp_path / "out", *sources)
    assert first.failed == 3
    assert extract(module, tmp_path / "out", *sources, mode="retry-errors").failed == 3
    write_folder(folder, pictures(5))
    (tmp_path / "a.tar").write_bytes(tar(pictures(5, 10)))
    report = extract(module, tmp_path / "out", *sources, mode="retry-errors")
    assert (report.failed, report.kept + report.rows) == (0, 13)
    assert report.rows < 7
    extract(module, tmp_path / "whole", *sources)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert extract(module, tmp_path / "out", *sources, mode="retry-errors").rows == 0


def test_retry_errors_of_a_folder_of_an_earlier_version(module: Module, tmp_path: Path) -> None:
    """Its parts do not state that the last row stands for the rest of a damaged shard."""
    (tmp_path / "a.tar").write_bytes(tar(pictures(5))[:2500])
    extract(module, tmp_path / "new", tmp_path / "a.tar")
    rows = pq.read_table(tmp_path / "new")
    for part in FeatureFolder(tmp_path / "new").parts():
        part.unlink()
    stated = {b"pnasnet.unit": b"0", b"pnasnet.first": b"0", b"pnasnet.last": b"1"}
    old = rows.schema.with_metadata({**rows.schema.metadata, **stated})
    for name in (b"pnasnet.rest", b"pnasnet.unreachable"):
        old = old.with_metadata({key: value for key, value in old.metadata.items() if key != name})
    pq.write_table(rows.cast(old), tmp_path / "new/part-00000000-000000000.parquet")
    assert extract(module, tmp_path / "new", tmp_path / "a.tar").rows == 0
    (tmp_path / "a.tar").write_bytes(tar(pictures(5)))
    assert extract(module, tmp_path / "new", tmp_path / "a.tar", mode="retry-errors").failed == 0
    assert names_in(tmp_path / "new") == list(pictures(5))


@dataclass(frozen=True)
class Closing(Unit):
    """Breaks off after its last image while a file is missing."""

    kind = "closing"
    path: str
    name = "closing"

    def pictures(self, start: int = 0, passed_over: PassedOver | None = None) -> Iterator[Picture]:
        for number in range(start, 3):
            yield Picture(str(number), lambda: jpeg(1))
        if not Path(self.path).exists():
            raise UnreachableError(f"{self.path}: broken off")


def test_a_shard_that_breaks_off_after_its_last_image(module: Module, tmp_path: Path) -> None:
    units: list[Unit] = [Closing(str(tmp_path / "back"))]
    with pytest.raises(InputError, match=r"^1 image or shard could not be reached"):
        run(module, tmp_path / "out", units)
    assert statuses(tmp_path / "out") == ["ok"] * 3 + ["unreachable"]
    (tmp_path / "back").touch()
    run(module, tmp_path / "out", units)
    assert names_in(tmp_path / "out") == ["0", "1", "2"]
    assert FeatureFolder(tmp_path / "out").mark()


def test_give_up_0_records_unreachable_rows_of_earlier_runs_as_failed(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "folder", pictures(4))
    (tmp_path / "a.tar").write_bytes(tar(pictures(2, 10)))
    units = list(list_units([folder, tmp_path / "a.tar"]))
    (tmp_path / "a.tar").unlink()

    def failing(path: str) -> bytes:
        raise UnreachableError(f"{path}: stale")

    monkeypatch.setattr(reading, "_read_listed", failing)
    with pytest.raises(InputError, match=r"^5 images or shards could not be reached"):
        run(module, tmp_path / "out", units)
    report = run(module, tmp_path / "out", units, give_up=0)
    assert (report.rows, report.failed, report.failed_before) == (5, 5, 0)
    assert statuses(tmp_path / "out") == ["error"] * 5


def test_unreachable_rows_with_others_between_them_do_not_end_the_run(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read_listed = write_folder(tmp_path / "folder", pictures(12)), reading._read_listed

    def failing(path: str) -> bytes:
        if int(Path(path).stem) % 3:
            raise UnreachableError(f"{path}: stale")
        return read_listed(path)

    monkeypatch.setattr(reading, "_read_listed", failing)
    with pytest.raises(InputError, match=r"^8 images or shards could not be reached"):
        run(module, tmp_path / "out", list(list_units([folder])), give_up=3)
    with pytest.raises(InputError, match=r"^2 images or shards in sequence cannot be reached"):
        run(module, tmp_path / "out", list(list_units([folder])), give_up=2)
