"""Features of labelled pictures, extracted once and kept in Parquet."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from ..datasets import LabelledImages
from ..errors import ImageError, InputError
from ..extract import ExtractOptions, extract_labelled
from ..extract.columns import columns_for
from ..extract.contents import digest_of
from ..extract.schema import FeatureSchema
from ..images import decode
from ..images.source import Source, read_file
from ..module.module import Module
from ..support.paths import utf8
from ..support.system import free_memory
from ..support.text import gigabytes
from .kept import CONTENT, KeptFeatures

_ENDPOINT = "global_pool"
_COPIES = 4
"""As rows that were read, as rows in their order, as the parts of the split, and in the solver."""


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
    """Return the features of all pictures, and write them to the file at `path`.

    What the file has of the same contents by the same network and preprocessing is taken from there, and so is what an
    earlier call had extracted when it was ended; pictures that are new, or can be decoded by now, are extracted.

    Args:
        module: the network.
        data: the pictures.
        path: the file; beside it lies a folder while there is something to extract.
        options: preprocessing, batch size, decoders.
        progress: called with how many more pictures are looked up or extracted; what it raises ends the call.

    Raises:
        InputError: the features will not fit the memory. OutputError: something cannot be written.
    """
    _check_memory(len(data), module.model.plan.num_features)
    columns = columns_for([module], [_ENDPOINT], options)
    vectors = FeatureSchema.of(columns)
    kept = KeptFeatures(path, vectors.schema())
    known = _Known(kept.read())
    contents: list[bytes | None] = []
    rows: list[int | None] = []
    for index in range(len(data)):
        contents.append(_content(data, index))
        rows.append(known.row(data, index, contents[index]))
        progress(rows[index] is not None)
    missing = [index for index, row in enumerate(rows) if row is None]
    tables = [known.table.drop_columns([CONTENT])]
    if missing:
        digests = iter([contents[index] for index in missing])
        with closing(extract_labelled(module, data.take(missing), _ENDPOINT, options)) as batches:
            for batch in batches:
                tables.append(vectors.table([batch]))
                kept.add(tables[-1], list(islice(digests, len(batch.rows))))
                progress(len(batch.rows))
    after = iter(range(len(known.table), len(known.table) + len(missing)))
    table = pa.concat_tables(tables).take([next(after) if row is None else row for row in rows])
    names = pa.array([utf8(str(name)) for name in data.names], pa.string())
    table = table.set_column(0, table.schema.field("path"), names)
    if missing or not kept.is_whole or not table.equals(tables[0]):
        kept.complete(table, contents)
    return _features(table, module.model.plan.num_features, len(missing))


class _Known:
    """Rows that were kept, by the contents of their pictures."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._contents, self._paths = table[CONTENT].to_pylist(), table["path"].to_pylist()
        self._failed = [status != "ok" for status in table["status"].to_pylist()]
        self._places = {content: row for row, content in enumerate(self._contents)}

    def row(self, data: LabelledImages, index: int, content: bytes | None) -> int | None:
        """Return the row of a picture, if there is one; a failure's only as long as it has its name and still fails."""
        if content is None:
            return None
        same = index < len(self._contents) and self._contents[index] == content  # of equal pictures, each has its own
        row = index if same else self._places.get(content)
        if row is None or not self._failed[row]:
            return row
        return row if self._paths[row] == utf8(str(data.names[index])) and not _decodes(data, index) else None


def _decodes(data: LabelledImages, index: int) -> bool:
    try:
        decode(data.read(index))
    except (ImageError, OSError):
        return False
    return True


def _check_memory(count: int, length: int) -> None:
    needed, free = _COPIES * count * length * 4, free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"the features of {count:,} pictures take up to {gigabytes(needed)} of memory, {gigabytes(free)} are free: "
            "take fewer pictures, a network with fewer features, or a larger machine"
        )


def _content(data: LabelledImages, index: int) -> bytes | None:
    """Return the digest of a picture's bytes; None where it cannot be read."""
    try:
        source: Source = data.read(index)
        if isinstance(source, Image.Image):
            return digest_of(repr((source.mode, source.size)).encode() + source.tobytes())
        return digest_of(source if isinstance(source, bytes | bytearray | memoryview) else read_file(source))
    except (ImageError, OSError):
        return None


def _features(table: pa.Table, length: int, extracted: int) -> Features:
    column = table["embedding"].combine_chunks()
    values = np.asarray(column.values, np.float32)[column.offset * length :][: len(table) * length]
    errors = [line for line in table["error"].to_pylist() if line is not None]
    readable = np.array([status == "ok" for status in table["status"].to_pylist()], dtype=bool)
    return Features(values.reshape(-1, length), readable, errors, extracted)
