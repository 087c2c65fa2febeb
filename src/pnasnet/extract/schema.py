r"""The schema of features, and batches of rows as Arrow tables.

Each image has one row: `path` (string; bytes that are not UTF-8 as `\xNN`), the vectors (`embedding`, a fixed-size
list of F float32 or float16; or one such column for each model and endpoint), `width` and `height` (int32, as decoded),
`status` (`ok`, `error` or `unreachable`) and `error` (string). If the status is `ok`, the error is null; otherwise the
vectors and the size are null.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ..support.text import utf8
from .columns import Column
from .pipeline import Batch

_ROW_BYTES = 256  # estimated size of a row without its vectors


@dataclass(frozen=True)
class FeatureSchema:
    """The columns of vectors, from which the schema of the rows is made.

    Attributes:
        columns: the Arrow type of each column, by name.
        metadata: metadata of the schema: the values that all columns share.
        fields: metadata of each column's field: the values of that column alone.
    """

    columns: Mapping[str, pa.DataType]
    metadata: Mapping[str, str]
    fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[Column]) -> "FeatureSchema":
        """Describe columns: shared metadata go to the schema, the others to the fields."""
        types = {column.name: column.type for column in columns}
        metadata = {column.name: column.metadata() for column in columns}
        first = next(iter(metadata.values()))
        common = {key: value for key, value in first.items() if all(one.get(key) == value for one in metadata.values())}
        own = {name: {k: v for k, v in one.items() if k not in common} for name, one in metadata.items()}
        return cls(types, common, own)

    def schema(self) -> pa.Schema:
        """Return the Arrow schema of the rows."""
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
