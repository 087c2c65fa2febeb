"""Tables of vectors from other software: every layout, every range of numbers, and errors."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pnasnet.errors import InputError, UnknownNameError
from pnasnet.vectors import build_index, open_features, parts, search_exactly
from pnasnet.vectors.sketch import unit

from tests.helpers.vectors_data import clustered, cosines, write_features

LAYOUTS = {
    "fixed-size lists of float16": lambda n: pa.list_(pa.float16(), n),
    "fixed-size lists of float64": lambda n: pa.list_(pa.float64(), n),
    "lists of float32": lambda n: pa.list_(pa.float32()),
    "lists of float64": lambda n: pa.list_(pa.float64()),
    "large lists of float32": lambda n: pa.large_list(pa.float32()),
}


def write_table(file: Path, vectors: NDArray[np.floating], kind: pa.DataType, **columns: object) -> Path:
    """Write a table without metadata, whose row 3 has no vector."""
    rows = [
        None if row == 3 else [kind.value_type.to_pandas_dtype()(number) for number in vector]
        for row, vector in enumerate(vectors)
    ]
    pq.write_table(pa.table({"vector": pa.array(rows, kind), **columns}), file, row_group_size=4)
    return file


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path: Path, layout: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pnasnet")
    vectors = clustered(12, 20)
    path = write_table(tmp_path / "f.parquet", vectors, LAYOUTS[layout](20), path=[f"{row}.jpg" for row in range(12)])
    features = open_features(path)
    assert (features.column, features.length, features.rows) == ("vector", 20, 12)
    ((row, vector),) = features.lookup(["5.jpg", "3.jpg"]).values()
    assert row == 5
    np.testing.assert_allclose(vector, vectors[5], rtol=1e-3)
    with build_index(features) as index:
        assert index.count == 11
        (found,) = index.search(vectors[5][None], 3)
    (exact,) = search_exactly(features, vectors[5][None], 3)
    assert found.ids[0] == exact.ids[0] == 5
    assert [record.message for record in caplog.records] == [
        f"{path}: it does not state model, weights_sha256, endpoint, preset, image_size, exif, precision, so it "
        "cannot be checked that its vectors are comparable"
    ]


@pytest.mark.parametrize("library", ["pandas", "polars", "duckdb"])
def test_features_filtered_and_written_again(tmp_path: Path, library: str) -> None:
    path = write_features(tmp_path / "f.parquet", clustered(12, 20), failed=[2])
    again = tmp_path / "again.parquet"
    module = pytest.importorskip(library)
    if library == "pandas":
        frame = module.read_parquet(path)
        frame[frame.path != "f/1.jpg"].to_parquet(again)
    elif library == "polars":
        module.read_parquet(path).filter(module.col("path") != "f/1.jpg").write_parquet(again)
    else:
        module.sql(f"COPY (SELECT * FROM '{path}' WHERE path <> 'f/1.jpg') TO '{again}'")
    features = open_features(again)
    assert features.rows == 11
    blocks = list(features.blocks())
    np.testing.assert_array_equal(
        np.concatenate([block.vectors for block in blocks]), clustered(12, 20)[[0, *range(3, 12)]]
    )
    assert set(features.lookup(["f/0.jpg", "f/1.jpg", "f/2.jpg"])) == {"f/0.jpg"}


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_similarities_of_all_finite_vectors(tmp_path: Path, kind: pa.DataType, indexed: bool) -> None:
    """Huge, tiny, subnormal and mixed vectors, whose squares overflow or vanish, on both sides of a comparison."""
    info = np.finfo(np.float32 if kind == pa.float32() else np.float64)
    scales = np.array([1, info.max / 2, info.tiny, info.smallest_subnormal * 2**20, 1e-25, 1e25, 1e-12, 1e19, 1e-38])
    base = clustered(9, 30).astype(np.float64)
    base /= base.max()
    vectors = base * scales[:, None]
    vectors = vectors.astype(info.dtype)
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"path": list("abcdefghi"), "vector": pa.array(list(vectors), pa.list_(kind))}), path)
    features = open_features(path)
    expected = cosines(unit(base), base) if kind == pa.float64() else _exact(vectors)
    if indexed:
        with build_index(features) as index:
            results = index.search(vectors, 9)
    else:
        results = search_exactly(features, vectors, 9)
    for row, found in zip(expected, results, strict=True):
        np.testing.assert_allclose(found.similarities, row[found.ids], atol=3e-4 if indexed else 1e-5)
        assert len(found.ids) == 9


def _exact(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return all similarities, after each vector was divided by its largest number."""
    wide = vectors.astype(np.float64)
    wide /= np.abs(wide).max(1, keepdims=True)
    result: NDArray[np.float64] = wide @ wide.T / (np.linalg.norm(wide, axis=1)[:, None] * np.linalg.norm(wide, axis=1))
    return result


def test_rows_without_a_path_are_named_by_their_number(tmp_path: Path) -> None:
    path = write_table(tmp_path / "f.parquet", clustered(6, 5), pa.list_(pa.float32()))
    features = open_features(path)
    assert [entry.path for entry in features.entries(np.array([0, 5]))] == [f"{path}#0", f"{path}#5"]
    assert [row for row, _ in features.lookup([f"{path}#4", f"{path}#3", f"{path}#6"]).values()] == [4]
    named = write_table(tmp_path / "g.parquet", clustered(6, 5), pa.list_(pa.float32()), url=["a", None, *"cdef"])
    entries = open_features(named, names="url").entries(np.array([0, 1]))
    assert [entry.path for entry in entries] == ["a", f"{named}#1"]
    with pytest.raises(UnknownNameError, match="unknown column 'uri': did you mean url"):
        open_features(named, names="uri")


def test_a_status_of_another_type_is_not_ours(tmp_path: Path) -> None:
    path = write_table(tmp_path / "f.parquet", clustered(6, 5), pa.list_(pa.float32()), status=[0, 1, 2, 3, 4, 5])
    assert sum(len(block.ids) for block in open_features(path).blocks()) == 5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2], [3.0]], "the vector in row 1 of the column vector has length 1, others have 2"),
        ([[1.0], [2.0, 3]], "the vectors of the column vector differ in length, or are longer than 1"),
        ([None, None], "are missing or empty in all rows"),
        ([[], []], "are missing or empty in all rows"),
    ],
)
def test_columns_without_vectors(tmp_path: Path, rows: list[list[float] | None], message: str) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"vector": pa.array(rows, pa.list_(pa.float32()))}), path)
    with pytest.raises(InputError, match=message):
        list(open_features(path).blocks())


def test_absurdly_long_vectors_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_NUMBERS", 1000)
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"vector": pa.array([[0.0] * 100_000], pa.list_(pa.float32()))}), path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(InputError, match="are longer than 1,000"):
        open_features(path)


@pytest.mark.parametrize("doubled", ["embedding", "name"])
def test_two_columns_of_one_name(tmp_path: Path, doubled: str) -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2, 3, 4]), 2)
    columns = {"embedding": vectors, "name": pa.array(["a", "b"])}
    names = ["embedding", "name", doubled]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_arrays([columns[name] for name in names], names=names), path)
    with pytest.raises(InputError, match=rf"has 2 columns named {doubled}: rename all but one of them$"):
        open_features(path, names="name")
