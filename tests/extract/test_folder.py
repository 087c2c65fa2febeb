"""What a folder keeps of earlier runs, by the metadata of its parts."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.extract.folder import COMPLETE, FeatureFolder, Kept
from pnasnet.extract.part import Part
from pnasnet.support.files import DamagedError


def table(*statuses: str) -> pa.Table:
    return pa.table({"status": pa.array(statuses)})


def test_a_row_for_the_rest_of_a_unit_is_kept_unless_it_is_computed_again(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path)
    parts = [Part(0, 0, 2, last=False), Part(0, 2, 1, last=True, rest=True)]
    folder.write_part(parts[0], table("ok", "error"))
    folder.write_part(parts[1], table("error"))
    (tmp_path / COMPLETE).touch()
    assert folder.resume() == folder.kept() == {0: Kept(3, finished=True)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [part.name for part in parts]
    assert folder.resume(retry_errors=True) == {0: Kept(2, again=((parts[0], (1,)),))}
    assert [path.name for path in tmp_path.iterdir()] == [parts[0].name]


def test_an_unreachable_rest_is_computed_again_and_parts_behind_a_gap_are_removed(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path)
    first, behind = Part(0, 0, 2, last=False), Part(0, 3, 1, last=True)
    folder.write_part(first, table("ok", "ok"))
    folder.write_part(behind, table("ok"))
    folder.write_part(Part(1, 0, 1, last=True, rest=True, unreachable=1), table("unreachable"))
    assert folder.resume() == {0: Kept(2), 1: Kept()}
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_a_failed_last_row_of_an_earlier_version_may_stand_for_several(tmp_path: Path) -> None:
    """Parts of earlier versions do not state whether it does: they are computed again from their first row on."""
    folder, part = FeatureFolder(tmp_path), Part(0, 0, 3, last=True, has_rest=False)
    stated = {"pnasnet.unit": "0", "pnasnet.first": "0", "pnasnet.last": "1"}
    pq.write_table(table("ok", "ok", "error").replace_schema_metadata(stated), tmp_path / part.name)
    assert folder.kept() == {0: Kept(3, finished=True)}
    assert folder.kept(retry_errors=True) == {0: Kept()}
    pq.write_table(table("ok", "error", "ok").replace_schema_metadata(stated), tmp_path / part.name)
    assert folder.kept(retry_errors=True) == {0: Kept(3, finished=True, again=((part, (1,)),))}


def test_empty_settings_are_damaged_and_an_empty_mark_is_no_mark(tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path / "out")
    settings = {"model": "a"}
    with folder.opened(settings):
        folder.append(table("ok", "ok"))
        folder.mark_complete(settings, 2, 0)
    (folder.path / "_complete.json").write_text("{}")
    assert folder.mark(settings) == {}
    (folder.path / "_settings.json").write_text("{}")
    with pytest.raises(DamagedError) as caught, folder.opened(settings):
        pass
    assert str(caught.value) == (
        f"{folder.path}/_settings.json is damaged (it holds no settings): choose another folder, or overwrite it "
        "(--overwrite)"
    )
    assert folder.rows() == 2
