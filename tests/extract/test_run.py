"""An extraction into a folder: its rows, its settings, what the vectors are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pnasnet import Module
from pnasnet.errors import InputError, LockedError, OutputError
from pnasnet.extract import ExtractOptions, Report, Sources, columns_for, contents, extract_to, list_units
from pnasnet.extract.folder import FeatureFolder
from pnasnet.extract.part import Part
from pnasnet.extract.run import fill_here
from pnasnet.support.locks import locked

from tests.helpers.corpus import MODEL, everything, jpeg, pictures, rows_of, with_copies, write_folder
from tests.helpers.extract_runs import THREE, StopAfter, module, run, small_units

__all__ = ["everything", "module", "small_units"]


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


def test_other_settings_are_refused_with_the_difference(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    run(module, tmp_path / "out", folder)
    before = rows_of(tmp_path / "out")
    with pytest.raises(
        OutputError, match=r"with other settings \(embedding\.preset: hub → slim\): use the same settings"
    ):
        run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim"))
    with pytest.raises(OutputError, match="sources: "):
        run(module, tmp_path / "out", folder, folder)
    assert rows_of(tmp_path / "out") == before
    run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim"), mode="overwrite")
    assert rows_of(tmp_path / "out") != before
    run(module, tmp_path / "out", folder, options=ExtractOptions(preset="slim", batch_size=1, decoders=1))


def test_foreign_folders_are_refused_and_unchanged(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    with pytest.raises(OutputError, match=r"folder holds other files \(00000.jpg\)"):
        run(module, folder, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["00000.jpg", "00001.jpg", "00002.jpg"]
    with pytest.raises(InputError, match="contains no images"):
        run(module, tmp_path / "new", write_folder(tmp_path / "empty", {}))
    assert not (tmp_path / "new").exists()


def test_an_empty_list_of_sources(module: Module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the list of sources is empty: name at least one source"):
        run(module, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_trailing_slash_makes_no_other_source(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    run(module, tmp_path / "out", folder)
    columns = columns_for([module], ["global_pool"], THREE)
    sources = Sources(lambda: list_units([f"{folder}/"]), [f"{folder}/"])
    assert extract_to(tmp_path / "out", sources, columns, THREE).kept == 3


def test_a_part_far_into_a_unit_keeps_its_place() -> None:
    assert Part(3, 999_999, 1, False).name < Part(3, 1_000_000, 1, False).name < Part(4, 0, 1, False).name


def test_two_runs_at_once(module: Module, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", pictures(3))
    with locked(tmp_path / "out"), pytest.raises(LockedError, match="is in use by another run"):
        run(module, tmp_path / "out", folder)
    run(module, tmp_path / "out", folder)


def test_failures_of_earlier_runs_are_counted(module: Module, tmp_path: Path, everything: list[Path]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(module, tmp_path / "out", *everything, progress=StopAfter(12))
    report = run(module, tmp_path / "out", *everything)
    assert (report.failed, report.failed_before) == (5, 2)
    again = run(module, tmp_path / "out", *everything)
    assert (again.rows, again.failed, again.failed_before) == (0, 5, 5)


def test_rows_of_a_lost_worker_are_in_the_report(module: Module, tmp_path: Path) -> None:
    """A lost worker of a cluster returns no report."""
    folder = write_folder(tmp_path / "folder", pictures(5))

    def untold(
        folder: FeatureFolder,
        units: Any,
        kept: Any,
        options: ExtractOptions,
        report: Report,
        advance: Any,
    ) -> None:
        fill_here(folder, units, kept, options, report, advance, columns=columns)
        report.rows -= 2

    columns, options = columns_for([module], ["global_pool"], ExtractOptions()), ExtractOptions()
    report = extract_to(tmp_path / "out", Sources(lambda: list_units([folder]), ["x"]), columns, options, fill=untold)
    assert report.rows == json.loads((tmp_path / "out/_report.json").read_text())["rows"] == 5


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
        assert table.schema.field(f"embedding_{name}").metadata[b"pnasnet.model"].decode() == each.model.name
    assert table.schema.metadata[b"pnasnet.endpoint"] == b"global_pool"


@pytest.mark.parametrize("recent", [contents._RECENT_BYTES, 0])
def test_equal_images_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recent: int) -> None:
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
        run(own, tmp_path / "out", folder, options=options, progress=StopAfter(17))
    report = run(own, tmp_path / "out", folder, options=options)
    assert seen == 10 or recent == 0  # without a memory, rows that are not in a part yet are computed again
    assert seen < 30
    assert report.stages.copies == report.rows or recent == 0
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
