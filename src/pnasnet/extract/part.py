"""A part: a Parquet file of consecutive rows of one unit, which its metadata name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import OutputError
from ..support.contexts import contextmanager
from ..support.files import reason

OK, ERROR, UNREACHABLE = "ok", "error", "unreachable"
"""The values of the column `status`."""
NAME = re.compile(r"part-\d{8}-\d{9,}\.parquet")
"""The names of parts; other files named `part-*.parquet` are not ours."""

GROUP_BYTES = 8 << 20
"""The size of a row group before encoding."""
_UNIT, _FIRST, _LAST = b"pnasnet.unit", b"pnasnet.first", b"pnasnet.last"
_REST, _UNREACHABLE = b"pnasnet.rest", b"pnasnet.unreachable"


@dataclass(frozen=True)
class Part:
    """The metadata of a part.

    Attributes:
        unit: number of the unit.
        first: number of the part's first row within the unit.
        rows: number of rows.
        last: whether this is the last part of the unit.
        rest: whether the part is one row that stands for the rest of a unit that could not be opened or read.
        unreachable: number of rows with the status `unreachable`.
        has_rest: whether the part states `rest`; parts of earlier versions do not.
    """

    unit: int
    first: int
    rows: int
    last: bool
    rest: bool = False
    unreachable: int = 0
    has_rest: bool = True

    @property
    def name(self) -> str:
        """The file's name. The order of names is the order of rows."""
        return f"part-{self.unit:08d}-{self.first:09d}.parquet"

    @classmethod
    def read(cls, path: Path) -> "Part | None":
        """Read a file's footer. Return None for a file of another program; raise `OutputError` for a damaged one."""
        with reading_part(path):
            footer = pq.read_metadata(path)
        metadata = footer.metadata or {}
        numbers = [metadata.get(key, b"0") for key in (_LAST, _REST, _UNREACHABLE)]
        try:
            last, rest, unreachable = map(int, numbers)
            place = int(metadata[_UNIT]), int(metadata[_FIRST])
        except (KeyError, ValueError):
            return None
        return cls(*place, footer.num_rows, bool(last), bool(rest), unreachable, _REST in metadata)

    def rows_with(self, path: Path, statuses: tuple[str, ...]) -> tuple[int, ...]:
        """Return the numbers, within the unit, of the rows with one of these statuses."""
        with reading_part(path):
            column = pq.read_table(path, columns=["status"])["status"]
            chosen = pc.is_in(column, pa.array(statuses, column.type))
        return tuple(self.first + place for place in pc.indices_nonzero(chosen).to_pylist())

    def write(self, file: object, table: pa.Table) -> None:
        """Write the rows and this part's metadata."""
        numbers = {_UNIT: self.unit, _FIRST: self.first, _LAST: int(self.last), _REST: int(self.rest)}
        numbers[_UNREACHABLE] = self.unreachable
        own = {key: str(value).encode() for key, value in numbers.items()}
        schema = table.schema.with_metadata({**(table.schema.metadata or {}), **own})
        group = max(1, GROUP_BYTES // max(1, table.nbytes // max(1, len(table))))
        with parquet_writer(file, schema) as writer:
            writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=group)


def parquet_writer(file: object, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a Parquet writer for rows of features: compressed, with statistics of the short columns only."""
    vectors = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=[f"{name}.list.element" for name in vectors],  # a fifth smaller, and as fast
        write_statistics=["width", "height", "status"],
    )


def read_groups(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the row groups of a part, cast to a schema. Raises `OutputError` if the part is damaged."""
    with reading_part(path), pq.ParquetFile(path) as part:
        for group in range(part.num_row_groups):
            yield part.read_row_group(group).cast(schema)


@contextmanager
def reading_part(path: Path) -> Iterator[None]:
    """Within the block, turn errors of reading a damaged part into an `OutputError`."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        raise OutputError(
            f"{path} is damaged ({why}): remove it and repeat the command, which computes its rows again"
        ) from error
