"""Parts: their row groups, and what their metadata state."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pnasnet.errors import OutputError
from pnasnet.extract.part import Part, read_groups


def rows(count: int, length: int = 1024) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(np.arange(count * length, dtype=np.float32), length)
    return pa.table({"status": pa.array(["ok", "error"] * (count // 2)), "feature": vectors})


def test_row_groups_have_a_few_megabytes(tmp_path: Path) -> None:
    """Readers hold a group at a time: of 4 KiB a row, 8 MiB are about 2000 rows."""
    table, path = rows(5000), tmp_path / "part.parquet"
    with path.open("wb") as file:
        Part(0, 0, 5000, last=True).write(file, table)
    groups = list(read_groups(path, table.schema))
    assert [len(group) for group in groups][:-1] == [pytest.approx(2048, rel=0.02)] * 2
    assert pa.concat_tables(groups).equals(table)


def test_rows_larger_than_a_group_have_groups_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with path.open("wb") as file:
        Part(0, 0, 2, last=True).write(file, rows(2, 2**21 + 1))
    assert pq.read_metadata(path).num_row_groups == 2


@pytest.mark.parametrize("part", [Part(3, 40, 4, last=False, rest=True, unreachable=2), Part(0, 0, 4, last=True)])
def test_a_part_states_its_rows(part: Part, tmp_path: Path) -> None:
    path = tmp_path / part.name
    with path.open("wb") as file:
        part.write(file, rows(4))
    assert Part.read(path) == part
    assert part.rows_with(path, ("error",)) == (part.first + 1, part.first + 3)
    pq.write_table(rows(4), path)
    assert Part.read(path) is None
    path.write_bytes(b"PAR1")
    with pytest.raises(OutputError, match=r"is damaged .*: remove it and repeat the command"):
        Part.read(path)
