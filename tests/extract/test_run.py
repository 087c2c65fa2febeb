"""A folder of features: what it holds, that any run can go on with it, and what ends a run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.errors import InputError, OutputError
from pnasnet.extract import (
    ExtractOptions,
    FeatureFolder,
    Listener,
    Report,
    Sources,
    columns_for,
    contents,
    extract_to,
    extract_to_folder,
    feed,
    keeper,
    list_units,
)
from pnasnet.extract.parts import Part
from pnasnet.pictures import UnreachableError, listing

from tests.helpers.corpus import MODEL, jpeg, parquet, pictures, rows_of, tar, write_folder, zipped
from tests.helpers.disks import small_disk_at
from tests.helpers.extract_runs import THREE, StopAfter, run

ENVIRONMENT = {**os.environ, "PNASNET_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 4)


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(MODEL, engine="fake")


@pytest.fixture
def everything(tmp_path: Path) -> list[Path]:
    """Sources of every kind with 37 inputs, of which some fail."""
    files = {**pictures(10), "00004.jpg": b"", "00007.jpg": b"no picture"}
    folder = write_folder(tmp_path / "folder", files)
    (tmp_path / "a.tar").write_bytes(tar(pictures(7, 10)))
    (tmp_path / "cut.tar").write_bytes(tar(pictures(5, 20))[:4000])
    (tmp_path / "b.zip").write_bytes(zipped(pictures(6, 30)))
    (tmp_path / "empty.tar").write_bytes(tar({}))
    parquet(tmp_path / "c.parquet", [jpeg(40), None, *(jpeg(number) for number in range(41, 48))])
    return [folder, *(tmp_path / name for name in ("a.tar", "cut.tar", "b.zip", "empty.tar", "c.parquet"))]


def test_every_input_is_one_row_in_order(module: Module, tmp_path: Path, everything: list[Path]) -> None:
    report = run(module, tmp_path / "out", *everything)
    rows = rows_of(tmp_path / "out")
    assert report.rows == len(rows) == 10 + 7 + 3 + 6 + 1 + 9
    assert [Path(str(row["path"])).name for row in rows[:10]] == [f"{number:05d}.jpg" for number in range(10)]
    failed = [str(row["path"]).removeprefix(f"{tmp_path}/") for row in rows if row["status"] == "error"]
    assert failed == ["folder/00004.jpg", "folder/00007.jpg", "cut.tar", "empty.tar", "c.parquet#1"]
    assert report.failed == len(failed)
    for row in rows:
        assert (row["embedding"] is None) == (row["width"] is None) == (row["error"] is not None)
    marked = json.loads((tmp_path / "out/_complete.json").read_text())
    assert (marked["rows"], marked["failed"]) == (len(rows), len(failed))
    vector = module.embed(jpeg(12))[0]
    np.testing.assert_array_equal(np.array(rows[12]["embedding"], np.float32), vector)


@pytest.mark.parametrize("rows", range(1, 36, 2))
def test_an_interrupted_run_goes_on_where_it_was(
    module: Module, tmp_path: Path, everything: list[Path], rows: int
) -> None:
    run(module, tmp_path / "whole", *everything)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(module, tmp_path / "out", *everything, listener=StopAfter(rows))
    kept = len(rows_of(tmp_path / "out"))
    assert kept >= rows
    assert caught.value.__notes__ == [f"{kept} rows are kept in {tmp_path}/out; the same command goes on from there"]
    assert not FeatureFolder(tmp_path / "out").is_complete
    report = run(module, tmp_path / "out", *everything)
    assert (report.kept, report.rows) == (kept, 36 - kept)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    again = run(module, tmp_path / "out", *everything)
    assert (again.kept, again.rows) == (36, 0)


def test_a_run_goes_on_with_the_inputs_that_were_listed(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(10))
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", folder, listener=StopAfter(3))
    (folder / "00000a.jpg").write_bytes(jpeg(99))  # would move everything by a row
    run(module, tmp_path / "out", folder)
    assert [str(row["path"])[-9:] for row in rows_of(tmp_path / "out")] == list(pictures(10))


def test_parts_are_written_in_time(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 1000)
    monkeypatch.setattr(keeper, "PART_SECONDS", 0.0)
    run(module, tmp_path / "out", write_folder(tmp_path / "folder", pictures(10)))
    assert [path.name for path in FeatureFolder(tmp_path / "out").parts()] == [
        f"part-00000000-{first:09d}.parquet" for first in (0, 3, 6, 9)
    ]
    assert len(rows_of(tmp_path / "out")) == 10


def test_other_settings_are_refused_and_said(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    run(module, tmp_path / "out", folder)
    before = rows_of(tmp_path / "out")
    with pytest.raises(OutputError, match=r"embedding\.preset was 'hub' and is now 'slim'; take the same ones"):
        run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim"))
    with pytest.raises(OutputError, match="sources was "):
        run(module, tmp_path / "out", folder, folder)
    assert rows_of(tmp_path / "out") == before
    run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim"), overwrite=True)
    assert rows_of(tmp_path / "out") != before
    run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim", batch_size=1, decoders=1))


def test_what_is_in_the_way_stays(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    with pytest.raises(OutputError, match=r"folder holds other things \(00000.jpg\)"):
        run(module, folder, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["00000.jpg", "00001.jpg", "00002.jpg"]
    with pytest.raises(InputError, match="holds no picture"):
        run(module, tmp_path / "new", write_folder(tmp_path / "empty", {}))
    assert not (tmp_path / "new").exists()


def test_a_list_of_nothing(module: Module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the list names no source: there is nothing to extract"):
        run(module, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_slash_at_the_end_makes_no_other_source(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    run(module, tmp_path / "out", folder)
    columns = columns_for([module], ["global_pool"], THREE)
    sources = Sources(lambda: list_units([f"{folder}/"]), [f"{folder}/"])
    assert extract_to(tmp_path / "out", sources, columns, THREE).kept == 3


def test_parts_of_other_programs_are_not_overwritten(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    others = write_folder(
        tmp_path / "spark", {"part-00000-c4.snappy.parquet": b"precious", ".x.y.parquet": b"precious"}
    )
    with pytest.raises(OutputError, match="spark holds other things"):
        run(module, others, folder, overwrite=True)
    assert {path.read_bytes() for path in others.iterdir()} == {b"precious"}


def test_a_part_far_into_a_unit_keeps_its_place() -> None:
    assert Part(3, 999_999, 1, False).name < Part(3, 1_000_000, 1, False).name < Part(4, 0, 1, False).name


def test_two_runs_at_once(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    with FeatureFolder(tmp_path / "out").locked(), pytest.raises(OutputError, match="another run is writing to it"):
        run(module, tmp_path / "out", folder)
    run(module, tmp_path / "out", folder)


def test_a_damaged_part_is_told_of(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(9))
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", folder, listener=StopAfter(6))
    part = next(FeatureFolder(tmp_path / "out").parts())
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(OutputError, match=r"part-00000000-000000000.parquet is damaged .*: remove it, and run again"):
        run(module, tmp_path / "out", folder)
    part.unlink()
    run(module, tmp_path / "out", folder)
    assert len(rows_of(tmp_path / "out")) == 9


def test_a_damaged_part_in_the_middle_of_a_unit(
    module: Module, tmp_path: Path, everything: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 1000)
    monkeypatch.setattr(keeper, "PART_SECONDS", 0.0)
    run(module, tmp_path / "whole", *everything)
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", *everything, listener=StopAfter(15))
    part = tmp_path / "out/part-00000000-000000003.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(OutputError, match="remove it, and run again"):
        run(module, tmp_path / "out", *everything)
    part.unlink()
    monkeypatch.setattr(keeper, "PART_SECONDS", 60.0)  # other parts than those that are left
    run(module, tmp_path / "out", *everything)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_a_damaged_part_of_a_complete_folder(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PART_SECONDS", 0.0)
    folder = write_folder(tmp_path / "folder", pictures(9))
    run(module, tmp_path / "out", folder)
    before = rows_of(tmp_path / "out")
    (tmp_path / "out/part-00000000-000000000.parquet").unlink()
    run(module, tmp_path / "out", folder)
    assert rows_of(tmp_path / "out") == before


def test_copies_of_a_part_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_RECENT_BYTES", 0)
    own, folder, options = Module(MODEL, engine="fake"), with_copies(tmp_path), replace(THREE, deduplicate=True)
    run(own, tmp_path / "whole", folder)
    with pytest.raises(KeyboardInterrupt):
        run(own, tmp_path / "out", folder, options=options, listener=StopAfter(17))
    first = next(FeatureFolder(tmp_path / "out").parts())
    first.unlink()
    with pytest.raises(KeyboardInterrupt):  # a shorter one takes its place
        run(own, tmp_path / "out", folder, options=replace(options, batch_size=1), listener=StopAfter(1))
    run(own, tmp_path / "out", folder, options=options)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_what_was_read_before_a_source_went_away_does_not_settle_what_was_read_after(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two decoders: the fifth picture comes from before the outage, and is done after the fourth has missed."""
    folder = write_folder(tmp_path / "folder", pictures(30))
    names, begun, missed, read = sorted(map(str, folder.iterdir())), Event(), Event(), feed._read_listed

    def failing(path: str) -> bytes:
        place = names.index(path)
        if place == 3:
            begun.wait(10)
        if place == 4:
            begun.set()
            missed.wait(10)
            time.sleep(0.1)
        if place < 3 or place == 4:
            return read(path)
        missed.set()
        raise UnreachableError(f"{path}: gone")

    monkeypatch.setattr(feed, "_read_listed", failing)
    with pytest.raises(InputError, match="cannot be reached"):
        run(module, tmp_path / "out", folder, options=ExtractOptions(batch_size=1, give_up=8))
    assert {row["status"] for row in rows_of(tmp_path / "out")} == {"ok"}
    monkeypatch.setattr(feed, "_read_listed", read)
    run(module, tmp_path / "out", folder, options=ExtractOptions(batch_size=1, give_up=8))
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok"] * 30


def test_a_source_that_goes_away_ends_the_run_and_may_come_back(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(30))
    options = ExtractOptions(batch_size=3, give_up=8)

    class Unmount(Listener):
        def progress(self, rows: int) -> None:
            if folder.exists():
                folder.rename(tmp_path / "away")

    with pytest.raises(InputError, match="8 pictures or shards one after the other cannot be reached") as caught:
        run(module, tmp_path / "out", folder, options=options, listener=Unmount())
    assert "the same command goes on from there" in caught.value.__notes__[0]
    assert {row["status"] for row in rows_of(tmp_path / "out")} == {"ok"}
    (tmp_path / "away").rename(folder)
    run(module, tmp_path / "out", folder, options=options)
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok"] * 30


def test_who_does_not_give_up_gets_errors(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(5))
    unit = next(list_units([folder]))
    shutil.rmtree(folder)
    options = ExtractOptions(give_up=0)
    columns = columns_for([module], ["global_pool"], options)
    report = extract_to(tmp_path / "out", Sources(lambda: [unit], ["gone"]), columns, options)
    assert (report.rows, report.failed) == (4, 4)
    assert "its folder is gone" in report.errors[0]


def test_failures_of_earlier_runs_are_counted(module: Module, tmp_path: Path, everything: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", *everything, listener=StopAfter(12))
    report = run(module, tmp_path / "out", *everything)
    assert (report.failed, report.failed_before) == (5, 2)
    again = run(module, tmp_path / "out", *everything)
    assert (again.rows, again.failed, again.failed_before) == (0, 5, 5)


@pytest.mark.parametrize("name", ["out", "f.parquet"])
def test_a_run_that_overwrites_goes_on_where_it_was(module: Module, tmp_path: Path, name: str) -> None:
    folder, slim = write_folder(tmp_path / "folder", pictures(10)), ExtractOptions(preset="slim", batch_size=3)
    run(module, tmp_path / name, folder)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(module, tmp_path / name, folder, options=slim, overwrite=True, listener=StopAfter(6))
    assert "the same command goes on from there" in caught.value.__notes__[0]
    report = run(module, tmp_path / name, folder, options=slim, overwrite=True)
    assert report.kept + report.rows == 10
    assert report.kept >= 6
    anew = run(module, tmp_path / name, folder, options=slim, overwrite=True)
    assert (anew.kept, anew.rows) == (0, 10)
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / name, folder, options=slim, overwrite=True, listener=StopAfter(6))
    other = run(module, tmp_path / name, folder, overwrite=True)
    assert (other.kept, other.rows) == (0, 10)


def test_what_is_there_stays_until_the_sources_have_been_listed(module: Module, tmp_path: Path) -> None:
    """They may lie on a disk that is not mounted."""
    folder = write_folder(tmp_path / "folder", pictures(4))
    run(module, tmp_path / "out", folder)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(InputError):
        run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim"), overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("moment", ["move_report", "shutil.rmtree"])
def test_a_kill_after_the_parts_were_joined(
    module: Module, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = write_folder(tmp_path / "folder", pictures(4)), tmp_path / "f.parquet"

    def kill(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"pnasnet.extract.output.{moment}", kill)
        with pytest.raises(KeyboardInterrupt):
            run(module, output, folder)
    assert len(rows_of(output)) == 4
    if moment == "move_report":
        report = run(module, output, folder)
        assert (report.kept, report.rows) == (4, 0)
    else:
        run(module, output, folder, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "f.parquet", "f.report.html", "f.report.json", "folder",
    ]  # fmt: skip


def test_rows_that_nobody_told_of_are_in_the_report(module: Module, tmp_path: Path) -> None:
    """As those of a worker of a cluster that was lost."""
    folder = write_folder(tmp_path / "folder", pictures(5))

    def untold(*arguments: Any, **options: Any) -> Report:
        report = extract_to_folder(*arguments, **options)
        report.rows -= 2
        return report

    columns, options = columns_for([module], ["global_pool"], ExtractOptions()), ExtractOptions()
    report = extract_to(
        tmp_path / "out", Sources(lambda: list_units([folder]), ["x"]), columns, options, extract=untold
    )
    assert report.rows == json.loads((tmp_path / "out/_report.json").read_text())["rows"] == 5


def test_a_kill_while_a_folder_is_cleared(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "folder", pictures(10))
    run(module, tmp_path / "out", folder)
    removed: list[str] = []
    unlink = Path.unlink

    def note(path: Path, missing_ok: bool = False) -> None:
        removed.extend([path.name] if path.exists() else [])
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", note)
    with FeatureFolder(tmp_path / "out").locked():
        FeatureFolder(tmp_path / "out").clear()
    assert (removed[0], removed[-1]) == ("_complete.json", "_settings.json")


def test_one_file(module: Module, tmp_path: Path, everything: list[Path]) -> None:
    run(module, tmp_path / "whole", *everything)
    output = tmp_path / "f.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(module, output, *everything, listener=StopAfter(9))
    assert not output.exists()
    run(module, output, *everything)
    assert rows_of(output) == rows_of(tmp_path / "whole")
    assert not (tmp_path / "f.partial").exists()
    with pytest.raises(OutputError, match=r"f\.parquet exists: choose another name"):
        run(module, output, *everything)


def test_a_full_disk_keeps_what_was_written(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(200))
    run(module, tmp_path / "whole", folder)
    with small_disk_at(tmp_path / "disk", "200k") as disk:
        with pytest.raises(OutputError, match="No space left on device; make room for it") as caught:
            run(module, disk / "out", folder)
        kept = len(rows_of(disk / "out"))
        assert f"{kept} rows are kept" in caught.value.__notes__[0]
        assert 0 < kept < 200
        assert not list(disk.glob("out/.*"))
        shutil.copytree(disk / "out", tmp_path / "out")  # to where there is room
    run(module, tmp_path / "out", folder)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize("vectors", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("normalize", [False, True])
def test_kinds_of_vectors(module: Module, tmp_path: Path, vectors: str, normalize: bool) -> None:
    folder = write_folder(tmp_path / "folder", {**pictures(3), "00003.jpg": b""})
    run(module, tmp_path / "out", folder, options=ExtractOptions(vectors=vectors, normalize=normalize))
    table = pq.read_table(tmp_path / "out")
    kind = "halffloat" if vectors == "float16" else "float"
    assert str(table.schema.field("embedding").type) == f"fixed_size_list<element: {kind}>[160]"
    found = np.array(table["embedding"].to_pylist()[:3], np.float64)
    exact = module.embed([folder / name for name in pictures(3)]).astype(np.float64)
    if normalize:
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    tolerance = {"float32": 1e-6, "float16": 2**-11, "bfloat16": 2**-8}[vectors]
    np.testing.assert_allclose(found, exact, rtol=tolerance, atol=1e-7)
    if vectors == "bfloat16":
        assert not (found.astype(np.float32).view(np.uint32) & 0xFFFF).any()
    said = table.schema.metadata
    assert (said[b"pnasnet.vectors"], said[b"pnasnet.normalized"]) == (
        vectors.encode(),
        str(normalize).lower().encode(),
    )


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path, batch_size: int) -> None:
    real = Module("pnasnet_tiny", threads=1)
    folder = write_folder(tmp_path / "folder", pictures(9))
    run(real, tmp_path / "out", folder, options=ExtractOptions(batch_size=batch_size))
    found = np.array([row["embedding"] for row in rows_of(tmp_path / "out")], np.float32)
    alone = np.concatenate([real.embed(folder / name) for name in pictures(9)])
    np.testing.assert_array_equal(found, alone)


def test_endpoints_pooled_and_whole(tmp_path: Path) -> None:
    real = Module("pnasnet_tiny", threads=1)
    folder = write_folder(tmp_path / "folder", pictures(3))
    run(real, tmp_path / "pooled", folder, endpoints=("Cell_3", "global_pool"))
    pooled = pq.read_table(tmp_path / "pooled")
    last, pool = (np.array(pooled[f"embedding_{name}"].to_pylist()) for name in ("Cell_3", "global_pool"))
    np.testing.assert_allclose(last, pool, rtol=1e-4, atol=1e-5)
    run(real, tmp_path / "whole", folder, endpoints=("Cell_3",), options=ExtractOptions(whole_maps=True))
    whole = pq.read_table(tmp_path / "whole")
    shape = tuple(map(int, whole.schema.metadata[b"pnasnet.shape"].split(b"x")))
    maps = np.array(whole["embedding"].to_pylist(), np.float32).reshape(-1, *shape)
    assert shape == real.model.plan.endpoints()["Cell_3"]
    np.testing.assert_allclose(np.maximum(maps, 0).mean((1, 2)), last, rtol=1e-4, atol=1e-5)


def test_several_models_in_one_pass(module: Module, tmp_path: Path) -> None:
    real = Module("pnasnet_tiny", threads=1)
    folder = write_folder(tmp_path / "folder", pictures(3))
    options = ExtractOptions(batch_size=2)
    columns = columns_for([module, real], ["global_pool"], options)
    extract_to(tmp_path / "out", Sources(lambda: list_units([folder]), ["x"]), columns, options)
    table = pq.read_table(tmp_path / "out")
    for name, each in (("tiny_hub_tf1", module), ("pnasnet_tiny", real)):
        expected = np.concatenate([each.embed(folder / picture) for picture in pictures(3)])
        np.testing.assert_array_equal(np.array(table[f"embedding_{name}"].to_pylist(), np.float32), expected)
        assert table.schema.field(f"embedding_{name}").metadata[b"pnasnet.module.open"].decode() == each.model.name
    assert table.schema.metadata[b"pnasnet.endpoint"] == b"global_pool"


def with_copies(tmp_path: Path) -> Path:
    """A folder of 40 pictures with 10 contents."""
    return write_folder(tmp_path / "copies", {f"{number:03d}.jpg": jpeg(number * 7 % 10) for number in range(40)})


@pytest.mark.parametrize("recent", [contents._RECENT_BYTES, 0])
def test_equal_pictures_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: int) -> None:
    monkeypatch.setattr(contents, "_RECENT_BYTES", recent)
    own, seen = Module(MODEL, engine="fake"), 0
    infer = own.run

    def count(images: NDArray[np.float32], endpoints: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        nonlocal seen
        seen += len(images)
        return infer(images, endpoints)

    monkeypatch.setattr(own, "run", count)
    folder = with_copies(tmp_path)
    run(own, tmp_path / "whole", folder)
    assert seen == 40
    seen = 0
    options = replace(THREE, deduplicate=True)
    with pytest.raises(KeyboardInterrupt):
        run(own, tmp_path / "out", folder, options=options, listener=StopAfter(17))
    report = run(own, tmp_path / "out", folder, options=options)
    assert seen == 10 or recent == 0  # without a memory, what is not in a part yet is computed again
    assert seen < 30
    assert report.stages.copies == report.rows or recent == 0
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


# Real signals, to processes of their own.

PROGRAM = """
import sys
from pnasnet.extract import keeper
from pnasnet.extract.sources import UnreachableError, listing
listing.FILES_IN_UNIT, keeper.PART_SECONDS = 8, 0.05
from pnasnet.cli import main
main(sys.argv[1:])
"""


def command(output: Path, *sources: Path) -> list[str]:
    paths = [str(source) for source in sources]
    return [sys.executable, "-c", PROGRAM, "embed", *paths, "-m", MODEL, "--engine", "fake", "-o", str(output)]


def many(tmp_path: Path) -> list[Path]:
    folder = write_folder(tmp_path / "folder", {**pictures(600), "00100.jpg": b"no picture"})
    (tmp_path / "a.tar").write_bytes(tar(pictures(400, 600)))
    return [folder, tmp_path / "a.tar"]


@pytest.mark.slow
def test_kill_9_at_20_random_moments(tmp_path: Path) -> None:
    sources, random, kills = many(tmp_path), Random(0), 0
    assert subprocess.run(command(tmp_path / "whole", *sources), env=ENVIRONMENT, check=False).returncode == 3
    while kills < 20:
        process = subprocess.Popen(command(tmp_path / "out", *sources), stderr=subprocess.PIPE, env=ENVIRONMENT)
        deadline = time.monotonic() + 60
        before = len(list(tmp_path.glob("out/part-*")))
        while process.poll() is None and len(list(tmp_path.glob("out/part-*"))) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(random.random() * 0.03)
        process.kill()
        process.communicate()
        kills += 1
        if FeatureFolder(tmp_path / "out").is_complete:  # faster than the killer: once more from the start
            shutil.rmtree(tmp_path / "out")
    subprocess.run(command(tmp_path / "out", *sources), env=ENVIRONMENT, check=False)
    assert FeatureFolder(tmp_path / "out").is_complete
    assert not list(tmp_path.glob("out/.*"))
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert len(rows_of(tmp_path / "out")) == 1000


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_keep_the_rows_done(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    sources = many(tmp_path)
    process = subprocess.Popen(command(tmp_path / "out", *sources), stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    while not list(tmp_path.glob("out/part-*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    stderr = process.communicate(timeout=30)[1]
    assert process.returncode == exit_code, stderr
    kept = len(rows_of(tmp_path / "out"))
    assert 0 < kept < 1000
    assert stderr.splitlines()[-2:] == [
        "error: interrupted",
        f"{kept} rows are kept in {tmp_path}/out; the same command goes on from there",
    ]
    assert subprocess.run(command(tmp_path / "out", *sources), env=ENVIRONMENT, check=False).returncode == 3
    assert [str(row["path"])[-9:] for row in rows_of(tmp_path / "out")] == list(pictures(1000))
