"""Builds an index, and adds new parts to it."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..support.arguments import checked
from ..support.files import writing
from ..support.locks import locked
from ..support.progress import Progress, counter, silent
from .features import PART_IDS, Features
from .index import VectorIndex, index_folder
from .index_files import IndexFiles, crc32c
from .manifest import new_parts
from .sketch import Vectors, principal_basis, sketch, unit

_GROWTH = 4
"""Factor of growth of the index after which a new basis is computed."""
_SAMPLE = 4096
"""Limit of the vectors from which a basis is computed."""
_AT_ONCE = 1024
"""Vectors in memory at a time."""


@checked
def build_index(features: Features, folder: Path | None = None, *, progress: Progress = silent) -> VectorIndex:
    """Build the index of the features, or add new parts to it, and open it.

    Parts in the index are not read again, and an interrupted run is resumed after its last finished part.

    Args:
        features: the vectors to index.
        folder: the folder to write; by default `index_folder`.
        progress: receives the vectors done in the stage `index`.

    Raises:
        InputError: the folder holds an index of other features, or a damaged one; or there are no vectors.
        OutputError: the index cannot be written.
        LockedError: another run is building it.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import build_index, open_features
        >>> features = open_features("features.parquet")
        >>> with build_index(features) as index:
        ...     index.search(features.vectors(np.array([0])), k=2)[0].ids[0]
        np.int64(0)
    """
    folder = folder or index_folder(features.path)
    with locked(folder), writing(folder, "free some space, and run it again"):
        files = IndexFiles(folder, features, create=True)
        _add_parts(files, features, progress)
        _add_sketches(files)
    return VectorIndex(files, features)


def _add_parts(files: IndexFiles, features: Features, progress: Progress) -> None:
    """Copy the vectors of new parts, and commit each part."""
    new = new_parts(files.manifest, features)
    advance = counter(progress, "index", sum(features.parts[number].rows for number in new))
    for number in new:
        count, index_number = files.manifest.vectors, len(files.manifest.parts)
        with (
            _append(files.vectors, 2 * features.length * count) as vectors,
            _append(files.ids, 8 * count) as ids,
        ):
            for block in features.blocks(number):
                vectors.write(unit(block.vectors).astype(np.float16).tobytes())
                ids.write((index_number * PART_IDS + block.ids % PART_IDS).tobytes())
                count += len(block.ids)
                advance(len(block.ids))
            _flush(vectors, ids)
        part = features.parts[number]
        files.commit(parts=(*files.manifest.parts, (part.path.name, part.rows, part.fingerprint)), vectors=count)


def _add_sketches(files: IndexFiles) -> None:
    """Compute the missing sketches; all of them if the index has outgrown its basis."""
    manifest = files.manifest
    if manifest.sketched == manifest.vectors:
        return
    generation, start, basis_vectors = manifest.generation, manifest.sketched, manifest.basis_vectors
    if manifest.vectors > _GROWTH * manifest.basis_vectors:
        generation, start, basis_vectors = manifest.generation + 1, 0, manifest.vectors
        basis = principal_basis(_sample(files))
        with files.basis(generation).open("wb") as file:
            np.save(file, basis)
            _flush(file)
    else:
        basis = files.load_basis()
    with _append(files.sketches(generation), 4 * (len(basis) + 1) * start) as sketches:
        for first in range(start, manifest.vectors, _AT_ONCE):
            sketches.write(sketch(_read(files, first, min(_AT_ONCE, manifest.vectors - first)), basis).tobytes())
        _flush(sketches)
    crc = crc32c(basis)
    files.commit(sketched=manifest.vectors, generation=generation, basis_vectors=basis_vectors, basis_crc32c=crc)
    if generation != manifest.generation:
        files.sketches(manifest.generation).unlink(missing_ok=True)
        files.basis(manifest.generation).unlink(missing_ok=True)


def _sample(files: IndexFiles) -> Vectors:
    """Return up to `_SAMPLE` vectors, spread evenly over the file."""
    count = files.manifest.vectors
    places = np.linspace(0, count - 1, min(_SAMPLE, count)).astype(np.int64)
    return np.concatenate([_read(files, place, 1) for place in places.tolist()])


def _read(files: IndexFiles, first: int, count: int) -> Vectors:
    """Return `count` unit vectors starting at `first`. Memory-mapping would count as memory."""
    length = files.manifest.length
    values = np.fromfile(files.vectors, np.float16, count * length, offset=2 * length * first)
    return unit(values.reshape(count, length).astype(np.float32))


def _append(path: Path, start: int) -> BinaryIO:
    """Open a file to append at byte `start`. Later bytes, from an interrupted run, are removed."""
    file = path.open("ab")
    file.truncate(start)
    return file


def _flush(*files: BinaryIO) -> None:
    """Make the bytes written so far durable."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
