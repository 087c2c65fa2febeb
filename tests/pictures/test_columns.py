"""Columns of images: a row without one is named; and the names of units of tables."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import ImageError, InputError
from pnasnet.pictures import list_units
from pnasnet.pictures.columns import refuse_missing

from tests.helpers.corpus import jpeg, parquet

NAMES = ["t.parquet#0", "t.parquet#1", "t.parquet#2"]
PARTS = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([[b"a"], [None, b"c"]]),
        pa.chunked_array([["a.jpg", None, "c.jpg"]]),
        pa.chunked_array([pa.array([{"bytes": b"a"}, {"bytes": None, "path": None}, {"path": "c.jpg"}], PARTS)]),
    ],
)
def test_a_row_without_an_image_is_named(column: pa.ChunkedArray) -> None:
    with pytest.raises(InputError, match=r"^'t.parquet#1' has no image: add it, or remove the row$"):
        refuse_missing(column, NAMES)


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([[b"a"], [b"b", b"c"]]),
        pa.chunked_array([pa.array([{"bytes": b"a"}, {"path": "b.jpg"}, {"bytes": b"c", "path": "c.jpg"}], PARTS)]),
    ],
)
def test_rows_with_bytes_or_a_path_have_an_image(column: pa.ChunkedArray) -> None:
    refuse_missing(column, NAMES)


def test_a_unit_of_a_table_is_named_by_its_first_row(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet", [jpeg(0), jpeg(1)])
    (unit,) = list_units([tmp_path / "t.parquet"])
    assert unit.name == f"{tmp_path}/t.parquet#0"
    assert [picture.name for picture in unit.pictures()] == [f"{tmp_path}/t.parquet#{row}" for row in range(2)]


@pytest.mark.parametrize("groups", [[], [[], [jpeg(0)], []], [[]]])
def test_a_table_without_rows_fails_as_an_archive_without_images_does(
    tmp_path: Path, groups: list[list[bytes]]
) -> None:
    path = tmp_path / "t.parquet"
    schema = pa.schema([("image", pa.binary())])
    with pq.ParquetWriter(path, schema) as writer:
        for group in groups:
            writer.write_table(pa.table({"image": group}, schema))
    (unit,) = list_units([path])
    if any(groups):
        assert [picture.name for picture in unit.pictures()] == [f"{path}#0"]
    else:
        with pytest.raises(ImageError, match=r"holds no image$"):
            next(iter(unit.pictures()))


@pytest.mark.parametrize("text", ["/9j/4AAQ" * 1000, "data:image/jpeg;base64," + "A" * 5000])
def test_text_that_is_no_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [text]}), path)
    (unit,) = list_units([path])
    (picture,) = unit.pictures()
    said = f"{path}#0: text of {len(text):,} characters, not a path: write the bytes of the image instead"
    with pytest.raises(ImageError) as caught:
        picture.read()
    assert str(caught.value) == said
