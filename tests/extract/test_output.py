"""Folders and files: overwriting, joining, and what belongs to others."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet import Module
from pnasnet.errors import InputError, OutputError, UnknownNameError
from pnasnet.extract import ExtractOptions, columns_for
from pnasnet.extract.folder import FeatureFolder, Kept
from pnasnet.extract.part import Part

from tests.helpers.corpus import everything, pictures, rows_of, write_folder
from tests.helpers.disks import small_disk_at
from tests.helpers.extract_runs import StopAfter, dies_at, module, run, small_units

__all__ = ["everything", "module", "small_units"]


def test_parts_of_other_programs_are_not_overwritten(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    others = write_folder(
        tmp_path / "spark", {"part-00000-c4.snappy.parquet": b"precious", ".x.y.parquet": b"precious"}
    )
    with pytest.raises(OutputError, match="spark holds other files"):
        run(module, others, folder, mode="overwrite")
    assert {path.read_bytes() for path in others.iterdir()} == {b"precious"}


@pytest.mark.parametrize("name", ["out", "f.parquet"])
def test_an_interrupted_overwrite_is_resumed(module: Module, tmp_path: Path, name: str) -> None:
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


def test_the_old_output_is_kept_until_the_sources_are_listed(module: Module, tmp_path: Path) -> None:
    """The sources may be on a disk that is not mounted."""
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
    with pytest.raises(OutputError, match=r"f\.parquet exists, with other settings or of an earlier version: "):
        run(module, output, *everything, options=ExtractOptions(preset="slim"))


def test_a_disk_that_fills_while_joining(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(200))
    run(module, tmp_path / "whole", folder)
    run(module, tmp_path / "whole.parquet", folder)
    paths = [*(tmp_path / "whole").iterdir()]
    pages = sum(-(-path.stat().st_size // 4096) for path in paths) + (tmp_path / "whole.parquet").stat().st_size // 8192
    with small_disk_at(tmp_path / "disk", f"{4 * pages}k") as disk:
        with pytest.raises(OutputError, match=r"f\.parquet: No space left on device; free some space") as caught:
            run(module, disk / "f.parquet", folder)
        assert caught.value.__notes__ == [
            f"all 200 rows are safe in {disk}/f.partial; repeat the command to join them",
        ]
        assert sorted(path.name for path in disk.iterdir()) == ["f.partial"]
        assert rows_of(disk / "f.partial") == rows_of(tmp_path / "whole")
        shutil.copytree(disk / "f.partial", tmp_path / "f.partial")  # to a disk with free space
    report = run(module, tmp_path / "f.parquet", folder)
    assert (report.kept, report.rows) == (200, 0)
    assert rows_of(tmp_path / "f.parquet") == rows_of(tmp_path / "whole")


@pytest.mark.parametrize("name", ["out", "f.parquet"])
def test_death_before_each_change_while_overwriting(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """At any moment one whole result exists, and the same command finishes."""
    photos, slim = write_folder(tmp_path / "photos", pictures(5)), ExtractOptions(preset="slim", batch_size=3)
    run(module, tmp_path / "new/out", photos, options=slim)
    new, deaths, died = rows_of(tmp_path / "new/out"), 0, True
    while died:
        home = tmp_path / str(deaths)
        home.mkdir()
        run(module, home / name, photos)
        (home / "notes.txt").write_text("mine")
        if name == "out":
            (home / "out/part-mine.parquet").write_text("mine")
        old = [row["embedding"] for row in rows_of_ours(home / name)]
        with monkeypatch.context() as patch:
            died = dies_at(patch, deaths, partial(run, module, home / name, photos, options=slim, mode="overwrite"))
        whole = [rows_of_ours(place) for place in home.rglob("*") if place.name in (name, "out.new") and place.exists()]
        assert any([row["embedding"] for row in rows] == old or rows == new for rows in whole)
        run(module, home / name, photos, options=slim, mode="overwrite")
        assert rows_of_ours(home / name) == new
        if name == "out":
            assert (home / "out/part-mine.parquet").read_text() == "mine"
            assert sorted(path.name for path in home.iterdir()) == ["notes.txt", "out"]
        else:
            left = ["f.parquet", "f.report.html", "f.report.json", "notes.txt"]
            assert sorted(path.name for path in home.iterdir()) == left
        deaths += died
    assert deaths > 8


def test_a_swap_that_was_interrupted_is_finished_by_any_run(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    run(module, tmp_path / "out", photos)
    (tmp_path / "out").rename(tmp_path / "out.new")
    report = run(module, tmp_path / "out", photos)
    assert (report.kept, report.rows) == (3, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


def rows_of_ours(output: Path) -> list[dict[str, object]]:
    parts = FeatureFolder(output).parts() if output.is_dir() else [output]
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_files_of_the_user_are_kept(module: Module, tmp_path: Path) -> None:
    """Names with brackets, and names that begin and end like ours."""
    photos, output = write_folder(tmp_path / "photos", pictures(3)), tmp_path / "a[1]"
    run(module, output, photos)
    mine = {"part-mine.parquet", ".my.notes.parquet", "part-00000-c4.snappy.parquet", "_notes.json", ".0123abcd.txt"}
    write_folder(output, dict.fromkeys(mine, b"mine"))
    neighbours = [tmp_path / ".x.a[1].partial", tmp_path / ".0123abcd.a1", tmp_path / "a1.new"]
    for neighbour in neighbours:
        write_folder(neighbour, {"mine": b"mine"})
    (output / ".89abcdef._complete.json").write_text("left by a killed run")
    (output / "part-00000000-000000000.parquet").unlink()
    run(module, output, photos)
    assert not (output / ".89abcdef._complete.json").exists()
    for mode in (None, "overwrite"):
        run(module, output, photos, mode=mode)
        assert {path.name for path in output.iterdir() if path.read_bytes() == b"mine"} == mine
        assert len(rows_of_ours(output)) == 3
    run(module, tmp_path / "a[1].parquet", photos)
    assert [(neighbour / "mine").read_bytes() for neighbour in neighbours] == [b"mine"] * 3
    assert not (tmp_path / "a[1].partial").exists()


def test_a_failed_removal_is_one_line(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    run(module, tmp_path / "out", photos)
    (tmp_path / "out/part-00000000-000000000.parquet").unlink()

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(OutputError, match=r"cannot write .*out: Operation not permitted"):
            run(module, tmp_path / "out", photos)
    assert run(module, tmp_path / "out", photos).rows == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\xff"])
@pytest.mark.parametrize("name", ["_inputs.jsonl", "_settings.json", "_complete.json"])
def test_damaged_files_of_the_folder_are_one_line(module: Module, tmp_path: Path, name: str, content: str) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    run(module, tmp_path / "out", photos)
    (tmp_path / "out" / name).write_bytes(content.encode("latin-1"))
    if name == "_inputs.jsonl":
        (tmp_path / "out/_complete.json").unlink()
    with pytest.raises(InputError, match=rf"{name} is damaged \(.*\): choose another folder, or") as caught:
        run(module, tmp_path / "out", photos)
    notes = getattr(caught.value, "__notes__", [])
    assert notes in ([], [f"3 rows are kept in {tmp_path}/out"])  # a repeated run would meet the damage again
    if name == "_complete.json":
        (tmp_path / "out" / name).unlink()
        assert run(module, tmp_path / "out", photos).kept == 3


def test_an_empty_part_of_an_earlier_version_ends_its_unit(tmp_path: Path) -> None:
    folder, table = FeatureFolder(tmp_path), pa.table({"status": pa.array(["ok", "ok"])})
    folder.write_part(Part(0, 0, 2, last=False), table)
    folder.write_part(Part(0, 2, 0, last=True), table.slice(0, 0))
    assert folder.kept() == {0: Kept(2, finished=True)}


def test_outputs_that_are_neither_a_folder_nor_parquet(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    run(module, tmp_path / "A.PARQUET", photos)
    assert (tmp_path / "A.PARQUET").is_file()
    for name in ("out.csv", "out.NPY", "photos/00000.jpg", ".parquet", "out.parquet ", "out.csv\n"):
        with pytest.raises(InputError, match=r"name a folder, or a file whose name ends in \.parquet"):
            run(module, tmp_path / name, photos)
    run(module, tmp_path / "features.v2", photos)
    assert len(rows_of(tmp_path / "features.v2")) == 3


@pytest.mark.parametrize(
    ("column", "values"),
    [("status", [1, 2, 3]), ("status", None), ("path", None), ("embedding", [1, 2, 3])],
)
def test_parts_rewritten_by_other_software_are_one_line(
    module: Module, tmp_path: Path, column: str, values: list[int] | None
) -> None:
    photos = write_folder(tmp_path / "photos", {**pictures(2), "00002.jpg": b"no picture"})
    run(module, tmp_path / "out", photos)
    (part,) = FeatureFolder(tmp_path / "out").parts()
    table = pq.read_table(part)
    place = table.schema.get_field_index(column)
    table = table.remove_column(place) if values is None else table.set_column(place, column, pa.array(values))
    pq.write_table(table, part)
    with pytest.raises(OutputError, match=rf"{part.name} is damaged \(.*\): remove it and repeat") as caught:
        run(module, tmp_path / "out", photos, mode="retry-errors")
    assert "\n" not in str(caught.value)


def test_null_paths_and_copies_under_other_names(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", {**pictures(2), "00002.jpg": b"no picture"})
    run(module, tmp_path / "out", photos)
    (part,) = FeatureFolder(tmp_path / "out").parts()
    copy = part.with_name("part-00000009-000000000.parquet")  # its metadata state unit 0
    shutil.copy(part, copy)
    (tmp_path / "out/_complete.json").unlink()
    assert run(module, tmp_path / "out", photos).kept == 3
    copy.unlink()  # it is neither counted nor removed
    table = pq.read_table(part)
    nulls = pa.array([None] * 3, pa.string())
    pq.write_table(table.set_column(0, pa.field("path", pa.string()), nulls), part)
    (tmp_path / "out/_complete.json").unlink()
    assert run(module, tmp_path / "out", photos).failed == 1


def test_a_folder_of_an_earlier_version_is_refused_with_one_line(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    run(module, tmp_path / "out", photos)
    settings = json.loads((tmp_path / "out/_settings.json").read_text())
    del settings["format"]
    (tmp_path / "out/_settings.json").write_text(json.dumps(settings))
    (tmp_path / "out/.lock").rename(tmp_path / "out/_lock")
    (tmp_path / "out/_overwriting.json").write_text('"hash"')
    before = rows_of(tmp_path / "out")
    with pytest.raises(
        OutputError, match=r"was created by an earlier version, with other settings \(format: none → 2\)"
    ) as e:
        run(module, tmp_path / "out", photos)
    assert not hasattr(e.value, "__notes__")
    assert rows_of(tmp_path / "out") == before
    run(module, tmp_path / "out", photos, mode="overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


def test_links_mount_points_and_the_current_folder(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, disk = write_folder(tmp_path / "photos", pictures(3)), tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "link").symlink_to(disk / "out")
    run(module, tmp_path / "link", photos)
    run(module, tmp_path / "link", photos, mode="overwrite", options=ExtractOptions(preset="slim"))
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in disk.iterdir()] == ["out"]
    monkeypatch.chdir(disk / "out")
    assert run(module, Path(), photos, options=ExtractOptions(preset="slim")).kept == 3
    monkeypatch.setattr(Path, "is_mount", lambda path: True)
    with pytest.raises(OutputError, match="it is a mount point and cannot be renamed; name a folder in it"):
        run(module, disk / "out", photos, mode="overwrite")


def test_a_folder_of_the_user_beside_a_file_is_kept(module: Module, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", pictures(3))
    run(module, tmp_path / "f.parquet", photos)
    mine = write_folder(tmp_path / "f.partial", {"_report.json": b"mine", "notes.txt": b"mine"})
    assert run(module, tmp_path / "f.parquet", photos).kept == 3
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == {"_report.json": b"mine", "notes.txt": b"mine"}
    with pytest.raises(OutputError, match=r"f\.partial holds other files \(notes\.txt\)"):
        run(module, tmp_path / "f.parquet", photos, mode="overwrite")


def test_unknown_modes_and_missing_columns(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(1))
    with pytest.raises(UnknownNameError, match=r"^unknown mode 'overwirte': did you mean overwrite\?$"):
        run(module, tmp_path / "out", folder, mode="overwirte")  # type: ignore[arg-type] # as a user may pass it
    for modules, endpoints, missing in (([], ["global_pool"], "model"), ([module], [], "endpoint")):
        with pytest.raises(InputError, match=f"^there is no {missing} to compute: name at least one$"):
            columns_for(modules, endpoints, ExtractOptions())
    assert not (tmp_path / "out").exists()
