"""Folders and files: overwriting, joining, and what belongs to others."""

from pathlib import Path
from typing import Any

import pytest

from pnasnet import Module
from pnasnet.errors import InputError, OutputError
from pnasnet.extract import ExtractOptions
from pnasnet.pictures import listing

from tests.helpers.corpus import MODEL, everything, pictures, rows_of, write_folder
from tests.helpers.extract_runs import StopAfter, run

__all__ = ["everything"]


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FILES_IN_UNIT", 4)


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(MODEL, engine="fake")


def test_parts_of_other_programs_are_not_overwritten(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    others = write_folder(
        tmp_path / "spark", {"part-00000-c4.snappy.parquet": b"precious", ".x.y.parquet": b"precious"}
    )
    with pytest.raises(OutputError, match="spark holds other files"):
        run(module, others, folder, mode="overwrite")
    assert {path.read_bytes() for path in others.iterdir()} == {b"precious"}


@pytest.mark.parametrize("name", ["out", "f.parquet"])
def test_a_run_that_overwrites_goes_on_where_it_was(module: Module, tmp_path: Path, name: str) -> None:
    folder, slim = write_folder(tmp_path / "folder", pictures(10)), ExtractOptions(preset="slim", batch_size=3)
    run(module, tmp_path / name, folder)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(module, tmp_path / name, folder, options=slim, mode="overwrite", progress=StopAfter(6))
    assert "repeat the command to resume" in caught.value.__notes__[0]
    report = run(module, tmp_path / name, folder, options=slim, mode="overwrite")
    assert report.kept + report.rows == 10
    assert report.kept >= 6
    anew = run(module, tmp_path / name, folder, options=slim, mode="overwrite")
    assert (anew.kept, anew.rows) == (0, 10)
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / name, folder, options=slim, mode="overwrite", progress=StopAfter(6))
    other = run(module, tmp_path / name, folder, mode="overwrite")
    assert (other.kept, other.rows) == (0, 10)


def test_what_is_there_stays_until_the_sources_have_been_listed(module: Module, tmp_path: Path) -> None:
    """They may lie on a disk that is not mounted."""
    folder = write_folder(tmp_path / "folder", pictures(4))
    run(module, tmp_path / "out", folder)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(InputError):
        run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim"), mode="overwrite")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("moment", ["move_report", "FeatureFolder.remove"])
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
    report = run(module, output, folder)
    assert (report.kept, report.rows) == (4, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "f.parquet", "f.report.html", "f.report.json", "folder",
    ]  # fmt: skip


def test_one_file(module: Module, tmp_path: Path, everything: list[Path]) -> None:
    run(module, tmp_path / "whole", *everything)
    output = tmp_path / "f.parquet"
    with pytest.raises(KeyboardInterrupt):
        run(module, output, *everything, progress=StopAfter(9))
    assert not output.exists()
    run(module, output, *everything)
    assert rows_of(output) == rows_of(tmp_path / "whole")
    assert not (tmp_path / "f.partial").exists()
    again = run(module, output, *everything)
    assert (again.kept, again.rows, again.failed) == (36, 0, 5)
    with pytest.raises(OutputError, match=r"f\.parquet exists: choose another name"):
        run(module, output, *everything, options=ExtractOptions(preset="slim"))
