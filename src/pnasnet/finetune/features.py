"""Computes the features of labelled images once, and stores them by the contents of the images."""

import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from ..datasets import LabelledImages
from ..errors import ImageError, InputError, OutOfMemoryError, OutputError
from ..extract import Batch, ExtractOptions
from ..extract.columns import columns_for
from ..extract.contents import digest_of
from ..extract.embed import extract_labelled
from ..extract.folder import FeatureFolder
from ..extract.schema import FeatureSchema
from ..images.source import Source, read_file
from ..module.module import Module
from ..support.progress import Progress, counter, silent
from ..support.system import free_memory
from ..support.text import gigabytes

ENDPOINT = "global_pool"
_CONTENT = pa.field("content", pa.binary(16))
_COPIES = 4
"""Copies of the features in memory: of all images, by part, scaled, and in the solver."""
_PART_SECONDS = 20.0
"""Seconds between two parts, and the most work that a killed run loses."""
_MAY_DIFFER = ("pnasnet.version", "pnasnet.engine", "pnasnet.weights")
"""Settings that change vectors by no more than rounding."""


@dataclass(frozen=True)
class FeatureMatrix:
    """The features of N images.

    Attributes:
        vectors: [N, F] float32; zeros for unreadable images.
        readable: [N] bool.
        errors: a line for each unreadable image, in order.
        computed: number of images whose features were computed in this run.
    """

    vectors: NDArray[np.float32]
    readable: NDArray[np.bool_]
    errors: list[str]
    computed: int

    def check_classes(self, data: LabelledImages) -> None:
        """Raise `InputError` if none of the images of a class can be read."""
        left = np.bincount(data.labels[self.readable], minlength=len(data.classes))
        failed = data.labels[~self.readable]
        for label, (name, count, readable) in enumerate(zip(data.classes, data.counts(), left, strict=True)):
            if count and not readable:
                first = self.errors[int(np.argmax(failed == label))]
                raise InputError(f"none of the {count:,} images of class {name!r} can be read, such as {first}")


def digests(data: LabelledImages, progress: Progress = silent) -> list[bytes | None]:
    """Return the digest of each image's bytes; None for an unreadable image."""
    advance = counter(progress, "reading", len(data))
    found: list[bytes | None] = []
    for index in range(len(data)):
        found.append(_digest(data, index))
        advance(1)
    return found


def _digest(data: LabelledImages, index: int) -> bytes | None:
    try:
        source: Source = data.read(index)
        if isinstance(source, Image.Image):
            return digest_of(repr((source.mode, source.size)).encode() + source.tobytes())
        return digest_of(source if isinstance(source, bytes | bytearray | memoryview) else read_file(source))
    except (ImageError, OSError):
        return None


def features_of(
    module: Module,
    data: LabelledImages,
    contents: Sequence[bytes | None],
    path: Path,
    options: ExtractOptions,
    *,
    progress: Progress = silent,
    overwrite: bool = False,
    write: bool = True,
) -> FeatureMatrix:
    """Return the features of all images, and store them in the folder at `path`.

    Stored features of the same contents are reused. The others are computed and added.

    Args:
        module: the network.
        data, contents: the images, and their digests from `digests`.
        path: the folder, a `FeatureFolder`.
        options: preprocessing, batch size, decoders.
        progress: receives the number of images done.
        overwrite: whether to start over if the folder holds features of another network or preprocessing.
        write: whether to lock the folder and add to it; otherwise it is only read.

    Raises:
        OutOfMemoryError: the features do not fit in memory.
        OutputError: the folder cannot be written or is locked, or has features of another network or preprocessing.
    """
    _check_memory(len(data), module.model.plan.num_features)
    (column,) = columns_for([module], [ENDPOINT], options)
    settings = features_settings(module, options)
    folder = FeatureFolder(path)
    if overwrite and write and folder.differences(settings):
        folder.remove()
    vectors = np.zeros((len(data), module.model.plan.num_features), np.float32)
    features = FeatureMatrix(vectors, np.zeros(len(data), bool), [], 0)
    with folder.opened(settings) if write else nullcontext():
        _read(folder, contents, features)
        missing = np.flatnonzero(~features.readable)
        advance = counter(progress, "features", len(data), len(data) - len(missing))
        writer = _PartWriter(folder, FeatureSchema.of([column]), settings, write)
        with closing(extract_labelled(module, data.take(missing), ENDPOINT, options)) as batches, writer:
            start = 0
            for batch in batches:
                chosen = missing[start : start + len(batch.rows)]
                good = _fill_in(features, batch, chosen)
                writer.add(batch, good, [contents[index] for index in chosen])
                start += len(batch.rows)
                advance(len(batch.rows))
    return FeatureMatrix(features.vectors, features.readable, features.errors, len(missing))


def features_settings(module: Module, options: ExtractOptions) -> dict[str, str]:
    """Return the settings that determine the vectors. A folder with other settings is not resumed."""
    (column,) = columns_for([module], [ENDPOINT], options)
    stated = {key: value for key, value in column.metadata().items() if key not in _MAY_DIFFER}
    return {key.removeprefix("pnasnet."): value for key, value in stated.items()}


def _fill_in(features: FeatureMatrix, batch: Batch, chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Store a batch at the indices `chosen`, and return which of its images are readable."""
    good = np.array([row.error is None for row in batch.rows], bool)
    if good.any():
        features.vectors[chosen[good]] = batch.vectors
        features.readable[chosen[good]] = True
    features.errors.extend(row.error for row in batch.rows if row.error is not None)
    return good


def _read(folder: FeatureFolder, contents: Sequence[bytes | None], features: FeatureMatrix) -> None:
    """Fill in the features that the folder stores."""
    indices_of: dict[bytes, list[int]] = {}
    for index, content in enumerate(contents):
        if content is not None:
            indices_of.setdefault(content, []).append(index)
    for path in folder.parts():
        try:
            table = pq.read_table(path, columns=["embedding", "content"])
            vectors = np.asarray(table["embedding"].combine_chunks().flatten(), np.float32).reshape(len(table), -1)
            found = table["content"].to_pylist()
        except (OSError, pa.ArrowException, KeyError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(f"{path} is damaged ({reason}): remove it and repeat the command") from error
        for row, content in enumerate(found):
            for index in indices_of.get(content, ()):
                features.vectors[index], features.readable[index] = vectors[row], True


class _PartWriter:
    """Adds rows to a folder: a part every few seconds, the rest at the end of the `with` block, even after an error."""

    def __init__(self, folder: FeatureFolder, vectors: FeatureSchema, settings: dict[str, str], write: bool) -> None:
        self._folder, self._vectors, self._settings, self._write = folder, vectors, settings, write
        self._pending: list[pa.Table] = []
        self._since = time.monotonic()

    def __enter__(self) -> "_PartWriter":
        if self._write and not self._folder.mark(self._settings):
            self._folder.unmark()
        return self

    def add(self, batch: Batch, good: NDArray[np.bool_], contents: Sequence[bytes | None]) -> None:
        """Add the rows of the readable images."""
        table = self._vectors.table([batch]).append_column(_CONTENT, pa.array(contents, _CONTENT.type))
        self._pending.append(table.filter(pa.array(good)))
        if time.monotonic() - self._since >= _PART_SECONDS:
            self._flush()

    def __exit__(self, *error: object) -> None:
        self._flush()
        if self._write and error[0] is None:
            self._folder.mark_complete(self._settings, self._folder.rows(), 0)

    def _flush(self) -> None:
        pending, self._pending, self._since = self._pending, [], time.monotonic()
        rows = pa.concat_tables(pending) if pending else []
        if self._write and len(rows):
            self._folder.unmark()
            self._folder.append(rows)


def _check_memory(count: int, length: int) -> None:
    needed, free = _COPIES * count * length * 4, free_memory()
    if free is not None and needed > free:
        raise OutOfMemoryError(
            f"the features of {count:,} images need up to {gigabytes(needed)} of memory, but {gigabytes(free)} are "
            "free: use fewer images, a network with fewer features, or a larger machine"
        )
