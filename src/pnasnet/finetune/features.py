"""Features of labelled pictures, extracted once and kept in Parquet."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..datasets import LabelledImages
from ..errors import ImageError, InputError
from ..extract import ExtractOptions, ParquetSink, extract_labelled
from ..extract.columns import columns_for
from ..extract.schema import VectorType
from ..images import decode
from ..module import Module

_ENDPOINT = "global_pool"


@dataclass(frozen=True)
class Features:
    """What a network makes of N pictures.

    Attributes:
        vectors: [N, F] float32; zeros for pictures that could not be read.
        readable: [N] bool.
        errors: a line for each picture that could not be read, in order.
        extracted: how many were extracted now, and not read from the file.
    """

    vectors: NDArray[np.float32]
    readable: NDArray[np.bool_]
    errors: list[str]
    extracted: int

    def check_classes(self, data: LabelledImages) -> None:
        """Raise `InputError` where a class has pictures, of which none can be read."""
        left = np.bincount(data.labels[self.readable], minlength=len(data.classes))
        failed = data.labels[~self.readable]
        for label, (name, count, readable) in enumerate(zip(data.classes, data.counts(), left, strict=True)):
            if count and not readable:
                first = self.errors[int(np.argmax(failed == label))]
                raise InputError(f"none of the {count:,} pictures of class {name!r} can be read, such as {first}")


def features_of(
    module: Module,
    data: LabelledImages,
    path: Path,
    options: ExtractOptions,
    progress: Callable[[int], None] = lambda rows: None,
) -> Features:
    """Return the features of all pictures: those in the file at `path` if it is of the same pictures, network and
    preprocessing, else extracted now and written to it.

    Pictures are the same by their names; after replacing some, remove the file. Those that could not be read are tried
    again.

    Raises `OutputError` where the file cannot be written.
    """
    columns = columns_for([module], [_ENDPOINT], options)
    said = columns[0].metadata()
    if (kept := _kept(path, data, said)) is not None:
        return _features(kept, module.model.plan.num_features, 0)
    length = module.model.plan.num_features
    with (
        closing(extract_labelled(module, data, _ENDPOINT, options)) as batches,
        ParquetSink(path, VectorType.of(columns), overwrite=True) as sink,
    ):
        for batch in batches:
            sink.write(batch)
            progress(len(batch.rows))
    return _features(pq.read_table(path), length, len(data))


def _kept(path: Path, data: LabelledImages, said: dict[str, str]) -> pa.Table | None:
    """Return the file's rows, if they are of these pictures by this network."""
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        known = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        same = all(known.get(key) == value for key, value in said.items()) and table["path"].to_pylist() == list(
            data.names
        )
    except (OSError, pa.ArrowException, KeyError, UnicodeDecodeError):
        return None  # damaged, or something else: extracted anew
    return table if same and not _mended(data, table) else None


def _mended(data: LabelledImages, table: pa.Table) -> bool:
    """Whether a picture can be read now that could not be when the file was written."""
    for index, status in enumerate(table["status"].to_pylist()):
        if status != "ok":
            try:
                decode(data.read(index))
            except (ImageError, OSError):
                continue
            return True
    return False


def _features(table: pa.Table, length: int, extracted: int) -> Features:
    column = table["embedding"].combine_chunks()
    values = np.asarray(column.values, np.float32)[column.offset * length :][: len(table) * length]
    errors = [line for line in table["error"].to_pylist() if line is not None]
    readable = np.array([status == "ok" for status in table["status"].to_pylist()], dtype=bool)
    return Features(values.reshape(-1, length), readable, errors, extracted)
