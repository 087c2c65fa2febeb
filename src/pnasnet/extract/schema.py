r"""The rows as Arrow tables, with one schema for files and parts.

One row for each image: `path` (string; bytes that are not UTF-8 as `\xNN`), the vectors (`embedding`, a fixed-size
list of F float32 or float16; or one such column for each model and endpoint), `width` and `height` (int32, as decoded),
`status` (`ok`, `error` or `unreachable`) and `error` (string). If the status is `ok`, the error is null; otherwise the
vectors and the size are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ..support.text import utf8
from .columns import Column
from .pipeline import Batch

_ROW_BYTES = 256  # a guess at the size of a row without its vectors


@dataclass(frozen=True)
class FeatureSchema:
    """The columns of vectors, by name, with their types and metadata: the input of the rows' schema."""

    columns: Mapping[str, pa.DataType]
    metadata: Mapping[str, str]
    """Metadata of the schema: the values that all columns share."""
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Metadata of each column's field: the values of that column alone."""

    @classmethod
    def of(cls, columns: Sequence[Column]) -> "FeatureSchema":
        """Describe columns; shared metadata go to the schema, other metadata to the fields."""
        types = {column.name: column.type for column in columns}
        stated = {column.name: column.metadata() for column in columns}
        first = next(iter(stated.values()))
        common = {key: value for key, value in first.items() if all(one.get(key) == value for one in stated.values())}
        own = {name: {k: v for k, v in one.items() if k not in common} for name, one in stated.items()}
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
            [row.status for row in rows],
            [row.error and utf8(row.error) for row in rows],
        ]
        return pa.table(columns, self.schema())


def nbytes(batches: Iterable[Batch]) -> int:
    """Return the approximate size of the rows of batches as a table."""
    return sum(_ROW_BYTES * len(batch.rows) + sum(v.nbytes for v in batch.columns.values()) for batch in batches)


def _vectors(name: str, kind: pa.DataType, batches: Sequence[Batch], failed: np.ndarray) -> pa.Array:
    number = np.float16 if kind.value_type == pa.float16() else np.float32
    values = np.zeros((len(failed), kind.list_size), number)
    found = [batch.columns[name] for batch in batches if name in batch.columns]
    values[~failed] = np.concatenate(found) if found else values[:0]
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size, mask=pa.array(failed))
