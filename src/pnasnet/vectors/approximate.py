"""An approximate index, for millions of vectors: FAISS's inverted file (IVF) with float16 vectors mapped from disk.

    trained.faiss      the centroids of the lists, trained on a sample
    held-out.f32       unit vectors that were held out of training, to measure recall
    segment-N.faiss    unit vectors, float16, of some parts, by list
    segment-N.f32      the nearest neighbours of the held-out vectors in that segment
    index.json         the parts in each segment, and the number of lists to visit; replaced last

A search compares the query with the vectors of the lists nearest to it, and misses nearer vectors in other lists: its
results are not proved. Similarities are exact except for the rounding to float16. `recall` chooses the number of lists.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, MissingExtraError, OutputError
from ..support.arguments import checked
from ..support.files import replacing, write_json, writing
from ..support.locks import locked
from ..support.paths import beside
from ..support.progress import Progress, counter, silent
from .features import PART_IDS, Features
from .index_files import crc32c
from .manifest import MANIFEST, Manifest, RowMap, check_belongs, damaged, new_parts, read_manifest
from .parts import Numbers
from .recall import HeldOut, HeldOutNeighbours, is_held_out, lists_to_visit
from .search import NOTHING, Nearest, check_queries, keep_best, leave_out, no_vectors
from .sketch import Vectors, unit

_VERSION = 2
_SAMPLE_BYTES = 1 << 30
"""Bytes of the sample that centroids are trained on, float32."""
_SEGMENT_BYTES = 1 << 30
"""Bytes from which a segment is closed; segments are built in memory."""
_PER_LIST = 39
"""Vectors per list that the centroids are trained on. FAISS warns about fewer; more take longer."""
_ITERATIONS = 6
_CANDIDATES = 2
"""Candidates of each segment whose similarities are computed again, as a multiple of the neighbours wanted."""
_HELD_OUT = "held-out.f32"
_GROWTH = 4
"""The index is built again when the features have grown by more than this factor."""


@dataclass(frozen=True)
class ApproximateManifest(Manifest):
    """The content of `index.json`.

    Attributes:
        segments: size of each segment's file, in bytes.
        vectors: number of vectors in all segments.
        trained_rows: number of rows of the features when the centroids were trained.
        probes: number of lists that a search visits.
        found: number of nearest neighbours of held-out vectors that such a search finds.
        wanted: number of all their nearest neighbours; 0 if recall was not measured.
        version: version of this layout.
    """

    segments: tuple[int, ...] = ()
    vectors: int = 0
    trained_rows: int = 0
    probes: int = 0
    found: int = 0
    wanted: int = 0
    version: int = _VERSION


class ApproximateIndex:
    """The approximate index of some features, open for searching; use it in a `with` statement.

    Attributes:
        count: number of vectors.
        probes: number of lists that a search visits. With more, it finds more of the nearest, and takes longer. The
            default was chosen by measurements when the index was built.
        recall: measured share, in [0, 1], of the 10 nearest neighbours that the default finds; None if it visits all
            lists.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import build_approximate, open_features
        >>> features = open_features("features.parquet")
        >>> with build_approximate(features) as index:
        ...     index.search(features.vectors(np.array([2])), k=1)[0].ids
        array([2])
        >>> index.close()  # as the end of `with` does
    """

    def __init__(self, folder: Path, features: Features, manifest: ApproximateManifest) -> None:
        if not manifest.vectors:
            raise no_vectors(features)
        if not manifest.probes or manifest.found > manifest.wanted:
            raise damaged(folder)
        self.count, self._length = manifest.vectors, features.length
        self.probes = manifest.probes
        self.recall = manifest.found / manifest.wanted if manifest.wanted else None
        self._rows = RowMap(folder, features, manifest.parts)
        self._segments = [_open_segment(folder, number, size) for number, size in enumerate(manifest.segments)]

    def __enter__(self) -> "ApproximateIndex":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        self._segments.clear()

    def search(self, queries: Numbers, k: int, without: Sequence[int | None] = ()) -> list[Nearest]:
        """Return about the `k` nearest rows of each query; arguments and errors are those of `search_exactly`."""
        check_queries(self._length, queries, k)
        results = []
        for query, own in zip(unit(queries), without or [None] * len(queries), strict=True):
            best = NOTHING
            for segment in self._segments:
                segment.nprobe = self.probes
                _, ids, vectors = segment.search_and_reconstruct(query[None], _CANDIDATES * (k + 1))
                found = ids[0] >= 0
                best = keep_best(best, ids[0][found], unit(vectors[0][found]) @ query, k + 1)
            similarities = np.clip(best.similarities, -1, 1)
            results.append(leave_out(Nearest(self._rows(best.ids), similarities, proved=False), own, k))
        return results


@checked
def build_approximate(
    features: Features, folder: Path | None = None, *, progress: Progress = silent
) -> ApproximateIndex:
    """Build the approximate index of the features, or add new parts to it, and open it.

    Parts in the index are not read again, and an interrupted run is resumed after its last segment. If the features
    have grown more than fourfold, the index is built again.

    Args:
        features: the vectors to index.
        folder: the folder to write; by default `approximate_folder`.
        progress: receives the rows done in the stages `train` and `index`.

    Raises:
        InputError: the folder holds an index of other features, or a damaged one; or there are no vectors.
        OutputError: the index cannot be written.
        LockedError: another run is building it.
        MissingExtraError: FAISS is not installed.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import build_approximate, open_features
        >>> features = open_features("features.parquet")
        >>> with build_approximate(features) as index:
        ...     index.search(features.vectors(np.array([0])), k=2)[0].ids[0]
        np.int64(0)
    """
    folder = folder or approximate_folder(features.path)
    _faiss()
    with locked(folder), writing(folder, "free some space, and run it again"):
        manifest = _read(folder, features) or ApproximateManifest(features.length, features.column)
        if not manifest.trained_rows or features.rows > _GROWTH * manifest.trained_rows:
            _train(folder, features, progress)
            manifest = _commit(
                folder, ApproximateManifest(features.length, features.column, trained_rows=features.rows)
            )
        manifest = _add_parts(folder, features, manifest, progress)
    return ApproximateIndex(folder, features, manifest)


@checked
def open_approximate(features: Features, folder: Path | None = None) -> ApproximateIndex:
    """Open the approximate index of the features.

    Raises:
        InputError: it is missing, damaged, of other features, or lacks some of their parts.
        MissingExtraError: FAISS is not installed.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import build_approximate, open_approximate, open_features
        >>> features = open_features("features.parquet")
        >>> build_approximate(features).close()
        >>> with open_approximate(features) as index:
        ...     index.search(features.vectors(np.array([0])), k=2)[0].ids[0]
        np.int64(0)
    """
    folder = folder or approximate_folder(features.path)
    manifest = _read(folder, features)
    if manifest is None:
        raise InputError(f"{features.path} has no approximate index: build it with --index --approximate")
    if missing := len(features.parts) - len(manifest.parts):
        raise InputError(
            f"{folder} lacks {missing:,} of {len(features.parts):,} parts: finish it with --index --approximate"
        )
    return ApproximateIndex(folder, features, manifest)


@checked
def approximate_folder(features: Path) -> Path:
    """Return the folder of the features' approximate index, beside them."""
    return beside(features, ".approximate")


def _read(folder: Path, features: Features) -> ApproximateManifest | None:
    manifest = read_manifest(folder, ApproximateManifest, _VERSION)
    if manifest is not None:
        check_belongs(folder, manifest, features)
    return manifest


def _commit(folder: Path, manifest: ApproximateManifest) -> ApproximateManifest:
    write_json(folder / MANIFEST, asdict(manifest))
    return manifest


def _train(folder: Path, features: Features, progress: Progress) -> None:
    """Train the centroids on rows spread evenly over the features, and write an index without vectors."""
    faiss = _faiss()
    step = -(-features.rows * features.length * 4 // _SAMPLE_BYTES)
    advance, seen = counter(progress, "train", features.rows), 0
    sample, held_out = list[Vectors](), list[Vectors]()
    for block in features.blocks():
        numbers = seen + np.arange(len(block.ids))
        held = is_held_out(numbers, features.rows)
        sample.append(unit(block.vectors[(numbers % step == 0) & ~held]))
        held_out.append(unit(block.vectors[held]))
        seen += len(block.ids)
        advance(len(block.ids))
    if not seen:
        raise no_vectors(features)
    vectors = np.concatenate(sample)
    lists = max(1, min(int(4 * seen**0.5), len(vectors) // _PER_LIST))
    centroids = faiss.IndexFlatIP(features.length)
    kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(centroids, features.length, lists, kind, metric, False)
    index.cp.niter, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = _ITERATIONS, 1, _PER_LIST
    index.train(vectors)
    _write(index, folder / "trained.faiss")
    _write_numbers(np.concatenate(held_out), folder / _HELD_OUT)


def _add_parts(
    folder: Path, features: Features, manifest: ApproximateManifest, progress: Progress
) -> ApproximateManifest:
    """Write the vectors of new parts to further segments."""
    from faiss.contrib.ivf_tools import add_preassigned

    new = new_parts(manifest, features)
    advance = counter(progress, "index", sum(features.parts[number].rows for number in new))
    parts, index, held_out = list(manifest.parts), None, None
    for number in new:
        if index is None or held_out is None:
            index = _read_index(folder, "trained.faiss")
            held_out = HeldOut(_read_numbers(folder, _HELD_OUT, -1, features.length), index.quantizer)
        for block in features.blocks(number):
            vectors = unit(block.vectors)
            lists = index.quantizer.search(vectors, 1)[1][:, 0]
            ids = len(parts) * PART_IDS + block.ids % PART_IDS  # named: FAISS reads it by its address
            add_preassigned(index, vectors, lists, ids)  # type: ignore[no-untyped-call]
            held_out.see(vectors, lists)
            advance(len(block.ids))
        part = features.parts[number]
        parts.append((part.path.name, part.rows, part.fingerprint))
        if number == new[-1] or 2 * features.length * index.ntotal >= _SEGMENT_BYTES:
            manifest = _add_segment(folder, replace(manifest, parts=tuple(parts)), index, held_out)
            index = None
    return manifest


def _add_segment(folder: Path, manifest: ApproximateManifest, index: Any, held_out: HeldOut) -> ApproximateManifest:
    """Write a segment, and update the number of lists that a search must visit."""
    path = _segment(folder, len(manifest.segments))
    _write(index, path)
    found = held_out.found
    _write_numbers(np.stack([found.similarities, found.visits]), path.with_suffix(".f32"))
    shape = (2, *found.visits.shape)
    earlier = (_segment(folder, number).with_suffix(".f32").name for number in range(len(manifest.segments)))
    measured = lists_to_visit(
        [*(HeldOutNeighbours(*_read_numbers(folder, name, *shape)) for name in earlier), found], index.nlist
    )
    sizes, vectors = (*manifest.segments, path.stat().st_size), manifest.vectors + index.ntotal
    return _commit(folder, replace(manifest, segments=sizes, vectors=vectors, **asdict(measured)))


def _segment(folder: Path, number: int) -> Path:
    return folder / f"segment-{number}.faiss"


def _open_segment(folder: Path, number: int, size: int) -> Any:
    path = _segment(folder, number)
    if not path.exists() or path.stat().st_size != size:
        raise damaged(folder)
    return _read_index(folder, path.name, _faiss().IO_FLAG_MMAP)


def _read_index(folder: Path, name: str, flags: int = 0) -> Any:
    try:
        return _faiss().read_index(str(folder / name), flags)
    except RuntimeError as error:
        raise damaged(folder) from error


def _write(index: Any, path: Path) -> None:
    with replacing(path) as temporary:
        try:
            _faiss().write_index(index, str(temporary))
        except RuntimeError as error:
            reason = str(error).rpartition(": ")[2]
            raise OutputError(f"cannot write {path}: {reason}; free some space, and run it again") from error


def _write_numbers(numbers: Vectors, path: Path) -> None:
    """Write float32 numbers followed by their CRC-32C (uint32, little-endian)."""
    with replacing(path) as temporary:
        temporary.write_bytes(numbers.tobytes() + crc32c(numbers).to_bytes(4, "little"))


def _read_numbers(folder: Path, name: str, *shape: int) -> Vectors:
    try:
        numbers = np.fromfile(folder / name, "<f4")
        crc = int.from_bytes(numbers[-1:].tobytes(), "little")
        numbers = numbers[:-1].reshape(shape)
    except (OSError, ValueError) as error:
        raise damaged(folder) from error
    if crc32c(numbers) != crc:
        raise damaged(folder)
    return numbers


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError.of("faiss-cpu", "faiss", "an approximate index") from error
    return faiss
