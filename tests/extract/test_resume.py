"""A run is resumed after whatever ended it: interruptions, kills, damage, a full disk."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pnasnet import Module
from pnasnet.errors import OutputError
from pnasnet.extract import contents, keeper
from pnasnet.extract.folder import FeatureFolder
from pnasnet.pictures import listing

from tests.helpers.corpus import MODEL, everything, jpeg, pictures, rows_of, tar, with_copies, write_folder
from tests.helpers.disks import small_disk_at
from tests.helpers.extract_runs import THREE, StopAfter, module, run, small_units
from tests.helpers.waiting import limited, until

__all__ = ["everything", "module", "small_units"]

ENVIRONMENT = {**os.environ, "PNASNET_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("rows", range(1, 36, 2))
def test_an_interrupted_run_is_resumed(module: Module, tmp_path: Path, everything: list[Path], rows: int) -> None:
    run(module, tmp_path / "whole", *everything)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(module, tmp_path / "out", *everything, progress=StopAfter(rows))
    kept = len(rows_of(tmp_path / "out"))
    assert kept >= rows
    assert caught.value.__notes__ == [f"{kept} rows are kept in {tmp_path}/out; repeat the command to resume"]
    assert not FeatureFolder(tmp_path / "out").mark()
    report = run(module, tmp_path / "out", *everything)
    assert (report.kept, report.rows) == (kept, 36 - kept)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    again = run(module, tmp_path / "out", *everything)
    assert (again.kept, again.rows) == (36, 0)


def test_a_resumed_run_has_the_inputs_that_were_listed(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(10))
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", folder, progress=StopAfter(3))
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


def test_a_damaged_part_is_reported(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(9))
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", folder, progress=StopAfter(6))
    part = FeatureFolder(tmp_path / "out").parts()[0]
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(
        OutputError, match=r"part-00000000-000000000.parquet is damaged .*: remove it and repeat the command"
    ):
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
        run(module, tmp_path / "out", *everything, progress=StopAfter(15))
    part = tmp_path / "out/part-00000000-000000003.parquet"
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(OutputError, match="remove it and repeat the command"):
        run(module, tmp_path / "out", *everything)
    part.unlink()
    monkeypatch.setattr(keeper, "PART_SECONDS", 60.0)  # parts that differ from the remaining ones
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


def test_copies_of_images_in_a_removed_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_RECENT_BYTES", 0)
    own, folder, options = Module(MODEL, engine="fake"), with_copies(tmp_path), replace(THREE, deduplicate=True)
    run(own, tmp_path / "whole", folder)
    with pytest.raises(KeyboardInterrupt):
        run(own, tmp_path / "out", folder, options=options, progress=StopAfter(17))
    first = FeatureFolder(tmp_path / "out").parts()[0]
    first.unlink()
    with pytest.raises(KeyboardInterrupt):  # a shorter part takes its place
        run(own, tmp_path / "out", folder, options=replace(options, batch_size=1), progress=StopAfter(1))
    run(own, tmp_path / "out", folder, options=options)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_a_full_disk_keeps_what_was_written(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(200))
    run(module, tmp_path / "whole", folder)
    with small_disk_at(tmp_path / "disk", "200k") as disk:
        with pytest.raises(OutputError, match="No space left on device; free some space") as caught:
            run(module, disk / "out", folder)
        kept = len(rows_of(disk / "out"))
        assert f"{kept} rows are kept" in caught.value.__notes__[0]
        assert 0 < kept < 200
        assert not list(disk.glob("out/.?*.*"))
        shutil.copytree(disk / "out", tmp_path / "out")  # to a disk with free space
    run(module, tmp_path / "out", folder)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


# Real signals, to processes of their own.

PROGRAM = """
import os, sys, time
from pnasnet.extract import embed, keeper
from pnasnet.pictures import listing
listing.FILES_IN_UNIT, keeper.PART_SECONDS = 8, 0.05
if "SLOW" in os.environ:  # a second for 50 images, so that a signal finds it at work
    decode = embed.load_each
    def slowly(*arguments, **options):
        time.sleep(0.04)
        return decode(*arguments, **options)
    embed.load_each = slowly
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
    assert (
        subprocess.run(command(tmp_path / "whole", *sources), env=ENVIRONMENT, check=False, timeout=600).returncode == 3
    )
    while kills < 20:
        process = subprocess.Popen(command(tmp_path / "out", *sources), stderr=subprocess.PIPE, env=ENVIRONMENT)
        deadline = time.monotonic() + 60
        before = len(list(tmp_path.glob("out/part-*")))
        while process.poll() is None and len(list(tmp_path.glob("out/part-*"))) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(random.random() * 0.03)
        process.kill()
        process.communicate(timeout=60)
        kills += 1
        if FeatureFolder(tmp_path / "out").mark():  # it finished before the kill: start over
            shutil.rmtree(tmp_path / "out")
    subprocess.run(command(tmp_path / "out", *sources), env=ENVIRONMENT, check=False, timeout=600)
    assert FeatureFolder(tmp_path / "out").mark()
    assert [path.name for path in tmp_path.glob("out/.*")] == [".lock"]
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert len(rows_of(tmp_path / "out")) == 1000


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_keep_finished_rows(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    sources = many(tmp_path)
    first = command(tmp_path / "out", *sources)
    process = subprocess.Popen(
        first, stderr=subprocess.PIPE, env={**ENVIRONMENT, "SLOW": "1"}, text=True, start_new_session=True
    )
    with limited(process):
        until(lambda: bool(list(tmp_path.glob("out/part-*"))) or process.poll() is not None)
        process.send_signal(number)
        stderr = process.communicate(timeout=120)[1]
    assert process.returncode == exit_code, stderr
    kept = len(rows_of(tmp_path / "out"))
    assert 0 < kept < 1000
    assert stderr.splitlines()[-2:] == [
        "error: interrupted",
        f"{kept} rows are kept in {tmp_path}/out; repeat the command to resume",
    ]
    assert (
        subprocess.run(command(tmp_path / "out", *sources), env=ENVIRONMENT, check=False, timeout=600).returncode == 3
    )
    assert [str(row["path"])[-9:] for row in rows_of(tmp_path / "out")] == list(pictures(1000))
