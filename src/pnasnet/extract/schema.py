r"""The rows as Arrow tables: one schema for one file, for the parts of a folder, on one machine or on many.

One row for each picture: `path` (string), the vectors (`embedding`, a fixed-size list of F float32 or float16; or one
such column for each model and endpoint), `width` and `height` (int32, as decoded), `status` ("ok" or "error") and
`error` (string). Where the status is "error", the vectors and the size are null; where it is "ok", the error is. Bytes
of a path that are not UTF-8 are written as `\xNN`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..support.paths import utf8
from .columns import Column
from .pipeline import Batch

GROUP_BYTES = 8 << 20
"""The size of a row group before encoding."""
_ROW_BYTES = 256  # a guess at what a row takes beside its vectors


@dataclass(frozen=True)
class VectorType:
    """The columns of vectors by name, and what the metadata say of them."""

    columns: Mapping[str, pa.DataType]
    metadata: Mapping[str, str]
    """Of the schema: what holds for all columns."""
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each column's field: what holds for it alone."""

    @classmethod
    def of(cls, columns: Sequence[Column]) -> "VectorType":
        """Describe columns: what is true of all of them in the schema's metadata, the rest in those of their fields."""
        types = {column.name: column.type for column in columns}
        said = {column.name: column.metadata() for column in columns}
        first = next(iter(said.values()))
        common = {key: value for key, value in first.items() if all(one.get(key) == value for one in said.values())}
        own = {name: {k: v for k, v in one.items() if k not in common} for name, one in said.items()}
        return cls(types, common, own)

    def schema(self) -> pa.Schema:
        """Return the schema of all files."""
        fields = [
            pa.field("path", pa.string(), nullable=False),
            *(pa.field(name, kind, metadata=self.fields.get(name) or None) for name, kind in self.columns.items()),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("status", pa.string(), nullable=False),
            pa.field("error", pa.string()),
        ]
        return pa.schema(fields, dict(self.metadata))

    def table(self, batches: Sequence[Batch]) -> pa.Table:
        """Return the rows of batches as a table."""
        rows = [row for batch in batches for row in batch.rows]
        failed = np.array([row.error is not None for row in rows], bool)
        vectors = [_vectors(name, kind, batches, failed) for name, kind in self.columns.items()]
        columns = [
            [utf8(row.path) for row in rows],
            *vectors,
            [row.width for row in rows],
            [row.height for row in rows],
            ["ok" if row.error is None else "error" for row in rows],
            [row.error and utf8(row.error) for row in rows],
        ]
        return pa.table(columns, self.schema())


def nbytes(batches: Iterable[Batch]) -> int:
    """Return about how many bytes the rows of batches take as a table."""
    return sum(_ROW_BYTES * len(batch.rows) + sum(v.nbytes for v in batch.columns.values()) for batch in batches)


def writer(where: object, schema: pa.Schema, vectors: Iterable[str]) -> pq.ParquetWriter:
    """Return what writes the rows as Parquet."""
    return pq.ParquetWriter(
        where,
        schema,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=[f"{name}.list.element" for name in vectors],  # a fifth smaller, in the same time
        write_statistics=["width", "height", "status"],
    )


def _vectors(name: str, kind: pa.DataType, batches: Sequence[Batch], failed: np.ndarray) -> pa.Array:
    number = np.float16 if kind.value_type == pa.float16() else np.float32
    values = np.zeros((len(failed), kind.list_size), number)
    found = [batch.columns[name] for batch in batches if name in batch.columns]
    values[~failed] = np.concatenate(found) if found else values[:0]
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size, mask=pa.array(failed))
