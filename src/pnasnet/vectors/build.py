"""Building an index, and adding new parts to it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from ..errors import OutputError
from .features import Features, make_id, split_ids
from .index import VectorIndex, index_folder
from .index_files import IndexFiles, State, crc32c
from .sketch import Vectors, principal_basis, sketch, unit

_GROWTH = 4
"""The basis is made anew when there are so many times the vectors that it was made from: they may lie elsewhere."""
_SAMPLE = 4096
_AT_ONCE = 1024
"""How many vectors are in memory at a time."""

Progress = Callable[[int], None]


def build_index(
    features: Features, folder: Path | None = None, *, progress: Progress = lambda vectors: None
) -> VectorIndex:
    """Build the index of the features, or bring it up to date, and open it.

    Parts that are in it already are not read. Whatever ends a run, the parts that were added stay, and the next run
    goes on after them.

    Args:
        features: what is indexed.
        folder: where; None for `index_folder`.
        progress: called with a number of vectors that were copied.

    Raises:
        InputError: there is an index of other features, or a damaged one; or there are no vectors.
        OutputError: it cannot be written, or another run is writing it.
    """
    folder = folder or index_folder(features.path)
    try:
        folder.mkdir(exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            files = IndexFiles(folder, State(features.length, features.column, features.comparable))
            files.check_belongs(features)
            _add_parts(files, features, progress)
            _add_sketches(files)
    except Timeout:
        raise OutputError(f"another run is building {folder}: wait for it") from None
    except OSError as error:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; {hint}, and run it again") from error
    return VectorIndex(files, features)


def _add_parts(files: IndexFiles, features: Features, progress: Progress) -> None:
    """Copy the vectors of the parts that are new, one part after the other."""
    known = {name for name, *_ in files.state.parts}
    for number, part in enumerate(features.parts):
        if part.path.name in known:
            continue
        count, index_number = files.state.vectors, len(files.state.parts)
        with (
            _append(files.vectors, 2 * features.length * count) as vectors,
            _append(files.ids, 8 * count) as ids,
        ):
            for block in features.blocks(number):
                vectors.write(unit(block.vectors).astype(np.float16).tobytes())
                ids.write((make_id(index_number, 0) + split_ids(block.ids)[1]).tobytes())
                count += len(block.ids)
                progress(len(block.ids))
            _flush(vectors, ids)
        files.commit(
            parts=(*files.state.parts, (part.path.name, part.rows, part.fingerprint)),
            vectors=count,
        )


def _add_sketches(files: IndexFiles) -> None:
    """Make the sketches that are missing; all of them where the vectors have outgrown the basis."""
    state = files.state
    if state.sketched == state.vectors:
        return
    generation, start, basis_vectors = state.generation, state.sketched, state.basis_vectors
    if state.vectors > _GROWTH * state.basis_vectors:
        generation, start, basis_vectors = state.generation + 1, 0, state.vectors
        basis = principal_basis(_sample(files))
        with files.basis(generation).open("wb") as file:
            np.save(file, basis)
            _flush(file)
    else:
        basis = files.load_basis()
    with _append(files.sketches(generation), 4 * (len(basis) + 1) * start) as sketches:
        for first in range(start, state.vectors, _AT_ONCE):
            sketches.write(sketch(_read(files, first, min(_AT_ONCE, state.vectors - first)), basis).tobytes())
        _flush(sketches)
    files.commit(sketched=state.vectors, generation=generation, basis_vectors=basis_vectors, basis_crc32c=crc32c(basis))
    if generation != state.generation:
        files.sketches(state.generation).unlink(missing_ok=True)
        files.basis(state.generation).unlink(missing_ok=True)


def _sample(files: IndexFiles) -> Vectors:
    """Return vectors from all over the file."""
    count = files.state.vectors
    places = np.linspace(0, count - 1, min(_SAMPLE, count)).astype(np.int64)
    return np.concatenate([_read(files, place, 1) for place in places.tolist()])


def _read(files: IndexFiles, first: int, count: int) -> Vectors:
    """Return `count` unit vectors from the place `first` on; by reading, for mapped pages would count as memory."""
    length = files.state.length
    values = np.fromfile(files.vectors, np.float16, count * length, offset=2 * length * first)
    return unit(values.reshape(count, length).astype(np.float32))


def _append(path: Path, start: int) -> BinaryIO:
    """Open a file to write on from `start`, where what counts of it ends."""
    file = path.open("ab")
    file.truncate(start)
    return file


def _flush(*files: BinaryIO) -> None:
    for file in files:
        file.flush()
        os.fsync(file.fileno())
