"""Adding to a folder of features: only what is new, behind what stays as it is, and whatever ends a run."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from pnasnet import Module
from pnasnet.errors import InputError, OutputError
from pnasnet.extract import list_units
from pnasnet.extract.folder import FeatureFolder
from pnasnet.extract.inputs import Inputs
from pnasnet.extract.output import Mode
from pnasnet.pictures import Unit
from pnasnet.vectors import build_index, open_features, open_index, search_exactly

from tests.helpers.corpus import MODEL, jpeg, parquet, pictures, rows_of, tar, write_folder, zipped
from tests.helpers.extract_runs import THREE, StopAfter, dies_at, module, run, small_units

__all__ = ["module", "small_units"]


def names_of(output: Path) -> list[str]:
    return [Path(str(row["path"])).name for row in rows_of(output)]


def contents_of(output: Path) -> dict[str, bytes]:
    """Return all files of a folder except the lock, by name."""
    return {path.name: path.read_bytes() for path in output.iterdir() if path.name != ".lock"}


def parts_of(output: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents_of(output).items() if name.startswith("part-")}


@pytest.fixture
def folder(tmp_path: Path, module: Module) -> Path:
    """Ten images, complete in `out`; then five more, before, between and after them by name; one of them fails."""
    photos = write_folder(tmp_path / "photos", pictures(10))
    run(module, tmp_path / "out", photos)
    write_folder(photos, {name: jpeg(number) for number, name in enumerate(NEW, 50)})
    (photos / "00004b.jpg").write_bytes(b"no picture")
    return photos


NEW = ["00000.jpeg", "00002b.jpg", "00004b.jpg", "00009b.jpg", "00009c.jpg"]
ALL = [*pictures(10), *NEW]


def test_only_new_images_are_embedded_after_the_others(module: Module, tmp_path: Path, folder: Path) -> None:
    before = parts_of(tmp_path / "out")
    report = run(module, tmp_path / "out", folder, mode="add")
    assert (report.rows, report.kept, report.failed, report.failed_before, report.vanished) == (5, 10, 1, 0, 0)
    assert names_of(tmp_path / "out") == ALL
    after = parts_of(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert sorted(after)[: len(before)] == sorted(before)
    run(module, tmp_path / "anew", folder)
    anew = {row["path"]: row for row in rows_of(tmp_path / "anew")}
    assert {row["path"]: row for row in rows_of(tmp_path / "out")} == anew
    mark = json.loads((tmp_path / "out/_complete.json").read_text())
    assert (mark["rows"], mark["failed"]) == (15, 1)
    said = json.loads((tmp_path / "out/_report.json").read_text())
    assert (said["rows"], said["failed"], said["this_run"]["rows"]) == (15, 1, 5)
    assert "This run computed 5 rows; 10 rows are from earlier runs." in (tmp_path / "out/_report.html").read_text()


def test_without_add_a_complete_folder_is_unchanged(module: Module, tmp_path: Path, folder: Path) -> None:
    before = contents_of(tmp_path / "out")
    report = run(module, tmp_path / "out", folder)
    assert (report.rows, report.kept) == (0, 10)
    assert contents_of(tmp_path / "out") == before


def test_if_nothing_is_new_nothing_changes(module: Module, tmp_path: Path, folder: Path) -> None:
    run(module, tmp_path / "out", folder, mode="add")
    before = contents_of(tmp_path / "out")
    (tmp_path / "out/.0123abcd._inputs.jsonl").touch()  # of a run that was killed while listing
    (folder / "00001.jpg").unlink()
    (folder / "00009c.jpg").unlink()
    (folder / "00002.jpg").write_bytes(jpeg(99))  # changed, but not read again
    report = run(module, tmp_path / "out", folder, mode="add")
    assert (report.rows, report.kept, report.failed, report.failed_before, report.vanished) == (0, 15, 1, 1, 2)
    assert contents_of(tmp_path / "out") == before


def test_add_creates_a_folder_or_resumes_its_run(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(10))
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", photos, mode="add", progress=StopAfter(3))
    write_folder(photos, {"00000.jpeg": jpeg(50)})
    report = run(module, tmp_path / "out", photos, mode="add")
    assert report.kept + report.rows == 11
    assert names_of(tmp_path / "out") == [*pictures(10), "00000.jpeg"]
    write_folder(photos, {"00000a.jpg": jpeg(51), "00003a.jpg": jpeg(52)})
    run(module, tmp_path / "out", photos, mode="add")
    assert names_of(tmp_path / "out") == [*pictures(10), "00000.jpeg", "00000a.jpg", "00003a.jpg"]


@pytest.mark.parametrize("mode", ["add", None])
@pytest.mark.parametrize("rows", [1, 4, 5])
def test_an_interrupted_run_is_resumed(
    module: Module, tmp_path: Path, folder: Path, rows: int, mode: Mode | None
) -> None:
    """By the same command, or without `--add`, since the inputs are listed."""
    with pytest.raises(KeyboardInterrupt) as caught:
        run(module, tmp_path / "out", folder, mode="add", progress=StopAfter(rows))
    assert "repeat the command to resume" in caught.value.__notes__[0]
    assert not FeatureFolder(tmp_path / "out").mark()
    assert run(module, tmp_path / "out", folder, mode=mode).kept >= 10 + rows
    assert names_of(tmp_path / "out") == ALL


def test_death_before_each_change_of_the_folder(
    module: Module, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tmp_path / "out", tmp_path / "before")
    run(module, tmp_path / "out", folder, mode="add")
    whole, inputs = parts_of(tmp_path / "out"), (tmp_path / "out/_inputs.jsonl").read_bytes()
    assert names_of(tmp_path / "out") == ALL
    deaths, died = 0, True
    while died:
        victim = tmp_path / f"victim{deaths}"
        shutil.copytree(tmp_path / "before", victim)
        with monkeypatch.context() as patch:
            died = dies_at(patch, deaths, partial(run, module, victim, folder, mode="add"))
        if FeatureFolder(victim).mark():  # never with fewer rows than inputs
            rows = [json.loads(line)["paths"] for line in (victim / "_inputs.jsonl").read_text().splitlines()]
            assert len(names_of(victim)) == sum(map(len, rows))
        run(module, victim, folder, mode="add")
        assert parts_of(victim) == whole
        assert (victim / "_inputs.jsonl").read_bytes() == inputs
        assert FeatureFolder(victim).mark()["rows"] == 15
        assert [path.name for path in victim.glob(".*")] == [".lock"]
        deaths += died
    assert deaths > 10


def test_new_shards_and_shards_that_have_grown(module: Module, tmp_path: Path) -> None:
    shards = write_folder(tmp_path / "shards", {"b.tar": tar(pictures(3)), "d.zip": zipped(pictures(2, 10))})
    parquet(shards / "f.parquet", [jpeg(20), jpeg(21)])
    pattern = shards / "*"
    run(module, tmp_path / "out", pattern)
    before = names_of(tmp_path / "out")
    write_folder(shards, {"b.tar": tar(pictures(5)), "d.zip": zipped(pictures(9, 10))})  # grown, but not read again
    parquet(shards / "f.parquet", [jpeg(number) for number in range(20, 29)])
    assert run(module, tmp_path / "out", pattern, mode="add").rows == 0
    write_folder(shards, {"a.tar": tar(pictures(2, 30)), "c.zip": zipped(pictures(2, 40)), "z.jpg": jpeg(60)})
    parquet(shards / "e.parquet", [jpeg(number) for number in range(50, 57)], group=3)
    report = run(module, tmp_path / "out", pattern, mode="add")
    assert (report.rows, report.vanished) == (2 + 2 + 7 + 1, 0)
    new = ["00030.jpg", "00031.jpg", "00040.jpg", "00041.jpg", *(f"e.parquet#{number}" for number in range(7)), "z.jpg"]
    assert names_of(tmp_path / "out") == [*before, *new]
    (shards / "b.tar").unlink()
    (shards / "f.parquet").unlink()
    assert run(module, tmp_path / "out", pattern, mode="add").vanished == 2


def test_scattered_new_files_share_units(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(12))
    run(module, tmp_path / "out", photos)
    write_folder(photos, {f"{number:05d}b.jpg": jpeg(number + 50) for number in range(0, 12, 3)})
    run(module, tmp_path / "out", photos, mode="add")
    assert [len(unit.inputs) for unit in Inputs(FeatureFolder(tmp_path / "out"))] == [4, 4, 4, 4]


def test_other_settings_are_refused_with_the_difference(module: Module, tmp_path: Path, folder: Path) -> None:
    before = contents_of(tmp_path / "out")
    with pytest.raises(
        OutputError, match=r"with other settings \(embedding\.preset: hub → slim\): use the same settings"
    ):
        run(module, tmp_path / "out", folder, mode="add", options=replace(THREE, preset="slim"))
    with pytest.raises(OutputError, match="sources: "):
        run(module, tmp_path / "out", folder, folder, mode="add")
    assert contents_of(tmp_path / "out") == before


def test_a_missing_source_changes_nothing(module: Module, tmp_path: Path, folder: Path) -> None:
    def broken() -> Iterator[Unit]:
        yield from list_units([folder])
        raise InputError("the server is gone")

    before = contents_of(tmp_path / "out")
    with pytest.raises(InputError, match="the server is gone"):
        run(module, tmp_path / "out", folder, units=broken, mode="add")
    folder.rename(tmp_path / "away")
    with pytest.raises(InputError, match="does not exist"):
        run(module, tmp_path / "out", folder, mode="add")
    folder.mkdir()
    with pytest.raises(InputError, match="contains no images"):
        run(module, tmp_path / "out", folder, mode="add")
    assert contents_of(tmp_path / "out") == before


def test_a_file_cannot_be_added_to(module: Module, tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"--add needs a folder of parts, and .*f\.parquet is one file: name a"):
        run(module, tmp_path / "f.parquet", folder, mode="add")
    assert not list(tmp_path.glob("f.*"))


def test_an_empty_list(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(2))
    with pytest.raises(InputError, match="the list of sources is empty"):
        run(module, tmp_path / "out", Path("list"), units=list, mode="add")
    report = run(module, tmp_path / "out", Path("list"), units=lambda: list_units([photos]), mode="add")
    assert (report.rows, report.kept, report.vanished) == (2, 0, 0)


def test_names_that_are_not_utf_8(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", {os.fsdecode(b"\xff.jpg"): jpeg(1), "é.jpg": jpeg(2)})
    run(module, tmp_path / "out", photos)
    write_folder(photos, {os.fsdecode(b"\xfe.jpg"): jpeg(3)})
    assert run(module, tmp_path / "out", photos, mode="add").rows == 1


def test_copies_of_images_in_the_folder(module: Module, tmp_path: Path) -> None:
    options = replace(THREE, deduplicate=True)
    photos = write_folder(tmp_path / "photos", pictures(5))
    run(module, tmp_path / "out", photos, options=options)
    write_folder(photos, {"copy.jpg": jpeg(3), "other.jpg": jpeg(9)})
    report = run(module, tmp_path / "out", photos, options=options, mode="add")
    assert (report.rows, report.stages.copies) == (2, 1)
    rows = rows_of(tmp_path / "out")
    assert rows[5]["embedding"] == rows[3]["embedding"]


def test_readers_during_a_run_and_a_growing_index(module: Module, tmp_path: Path, folder: Path) -> None:
    """Readers see all whole parts of an incomplete folder; an index must be updated."""
    out = tmp_path / "out"
    build_index(open_features(out)).close()
    with pytest.raises(KeyboardInterrupt):
        run(module, out, folder, mode="add", progress=StopAfter(3))
    unfinished = open_features(out)
    assert 10 < unfinished.rows < 15
    with pytest.raises(InputError, match="lacks 1 of 4 parts: finish it with --index"):
        open_index(unfinished)
    copied = [0, 0]
    build_index(unfinished, progress=lambda stage, done, total: copied.__setitem__(0, done)).close()
    run(module, out, folder, mode="add")
    features = open_features(out)
    build_index(features, progress=lambda stage, done, total: copied.__setitem__(1, done)).close()
    assert sum(copied) == 4  # one of the five new images failed; none of the ten old ones is read again
    index = open_index(features)
    assert index is not None
    with index:
        query = features.vectors(next(features.blocks(len(features.parts) - 1)).ids)[:1]
        (found,), (expected,) = index.search(query, 14), search_exactly(features, query, 14)
        assert found.similarities == pytest.approx(expected.similarities, abs=1e-3)
        assert set(found.ids.tolist()) == set(expected.ids.tolist())


# Real kills, of processes of their own.

PROGRAM = """
import sys
from pnasnet.extract import keeper
from pnasnet.pictures import listing
listing.FILES_IN_UNIT, keeper.PART_SECONDS = 8, 0.05
from pnasnet.cli import main
main(sys.argv[1:])
"""
ENVIRONMENT = {**os.environ, "PNASNET_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
KILLS = 12


@pytest.mark.slow
def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    photos, out, random = write_folder(tmp_path / "photos", pictures(200)), tmp_path / "out", Random(0)
    command = [sys.executable, "-c", PROGRAM, "embed", str(photos), "-m", MODEL, "--engine", "fake", "-o", str(out)]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=600)
    before = parts_of(out)
    write_folder(photos, {f"{number:05d}b.jpg": jpeg(number + 1000) for number in range(200)})
    (photos / "00100b.jpg").write_bytes(b"no picture")
    shutil.copytree(out, tmp_path / "first")
    for _ in range(KILLS):
        process = subprocess.Popen([*command, "--add"], stderr=subprocess.PIPE, env=ENVIRONMENT)
        seen, deadline = state_of(out), time.monotonic() + 120
        while process.poll() is None and state_of(out) == seen:  # until a file appears or changes
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        time.sleep(random.random() * 0.03)
        process.kill()
        process.communicate(timeout=60)
        if FeatureFolder(out).mark() and len(names_of(out)) == 400:  # it finished before the kill: start over
            shutil.rmtree(out)
            shutil.copytree(tmp_path / "first", out)
    assert (
        subprocess.run([*command, "--add"], env=ENVIRONMENT, check=False, capture_output=True, timeout=600).returncode
        == 3
    )
    assert [path.name for path in out.glob(".*")] == [".lock"]
    after = parts_of(out)
    assert {name: after[name] for name in before} == before
    assert names_of(out) == [*pictures(200), *(f"{number:05d}b.jpg" for number in range(200))]
    assert pq.read_table(out)["status"].to_pylist().count("error") == 1
    assert FeatureFolder(out).mark()["rows"] == 400


def state_of(output: Path) -> set[Path]:
    return set(output.iterdir())
