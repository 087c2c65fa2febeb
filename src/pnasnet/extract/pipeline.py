"""Decode images and run them through networks, in order, with a bounded number in flight.

    images ─► decoder threads ─► batches, filled across files and shards ─► networks ─► batches of rows

Decoding runs two batches ahead of the engine, so memory does not grow with the input. An image that cannot be decoded
becomes a row with an error, and the others continue.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..pictures import Picture, UnreachableError
from ..support.arguments import checked
from ..support.text import clean
from .columns import ColumnVectors
from .contents import Contents
from .part import ERROR, OK, UNREACHABLE

R = TypeVar("R")
Floats = NDArray[np.float32]

AHEAD_BYTES = 2**27
"""Limit of the encoded images in memory that wait for a decoder. `read_ahead` holds as many again."""
_BATCH_SECONDS = 5.0
"""Time after which a batch is computed even if it is not full, because callers can stop only between batches."""
_MAX_CONCURRENT = 4
"""Limit of the batches that the networks compute at once; all of them are in memory."""


@dataclass(frozen=True)
class Prepared:
    """A decoded image.

    Attributes:
        images: the input of each network, float32 [h, w, 3] in [0, 1].
        width, height: the size before resizing.
        digest: the digest of the encoded bytes, if equal images are computed once.
        unturned: whether the image has an EXIF orientation that was not applied.
    """

    images: tuple[Floats, ...]
    width: int
    height: int
    digest: bytes | None = None
    unturned: bool = False


Load = Callable[[Picture], Prepared]
"""Decodes an image; raises `ImageError`. Called by several threads."""
Infer = Callable[[tuple[Floats, ...]], ColumnVectors]
"""Returns the vectors of each column, [B, F], for one batch [B, h, w, 3] of each network's input."""


@dataclass(frozen=True)
class Row:
    """The result of one image, without its vectors.

    Attributes:
        path: the image's name.
        width, height: the size as decoded, in pixels; None if it failed.
        error: the error in one line; None if there was none.
        unreachable: whether the cause lies outside the image, so that a later run may succeed.
        digest, unturned: as in `Prepared`.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import extract, find_named
        >>> (batch,) = extract(Module("pnasnet_tiny"), find_named(["damaged.safetensors"]))
        >>> batch.rows[0].path, batch.rows[0].error is None
        ('damaged.safetensors', False)
        >>> batch.rows[0].status
        'error'
    """

    path: str
    width: int | None = None
    height: int | None = None
    error: str | None = None
    unreachable: bool = False
    digest: bytes | None = None
    unturned: bool = False

    @property
    def status(self) -> str:
        """`ok`, `error` or `unreachable`."""
        return OK if self.error is None else UNREACHABLE if self.unreachable else ERROR


@dataclass(frozen=True)
class Batch:
    """Rows of consecutive images.

    Attributes:
        rows: one for each image.
        columns: the vectors [n, F] of the rows without error, in order, by column.

    Example:
        >>> from pnasnet import Module
        >>> from pnasnet.extract import extract, find_named
        >>> (batch,) = extract(Module("pnasnet_tiny"), find_named(["photos/coffee.jpg"]))
        >>> len(batch.rows), batch.vectors.shape
        (1, (1, 960))
        >>> batch.slice(0, 0).rows
        ()
    """

    rows: tuple[Row, ...]
    columns: ColumnVectors

    @property
    def vectors(self) -> NDArray[np.floating]:
        """The vectors of the only column; [0, 0] if every image failed."""
        return next(iter(self.columns.values()), np.empty((0, 0), np.float32))

    def slice(self, start: int, stop: int) -> "Batch":
        """Return the rows from `start` to before `stop`, with their vectors."""
        first = sum(row.error is None for row in self.rows[:start])
        count = sum(row.error is None for row in self.rows[start:stop])
        columns = {name: vectors[first : first + count] for name, vectors in self.columns.items()}
        return Batch(self.rows[start:stop], columns)


@dataclass
class Stages:
    """Seconds spent in each stage. Decoding is the sum over its threads; the other stages alternate in one thread."""

    decoding: float = 0.0
    """Reading, decoding and preprocessing, summed over all threads."""
    waiting: float = 0.0
    """Waiting for the next decoded image: the part of decoding that did not overlap with other stages."""
    engine: float = 0.0
    writing: float = 0.0
    memory_splits: int = 0
    """Number of batches that were halved because the device ran out of memory."""
    copies: int = 0
    """Number of vectors copied from images with equal bytes."""

    def add(self, other: "Stages") -> None:
        """Add the figures of another worker."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def bottleneck(self) -> str:
        """The stage that the others waited for: decoding, engine or writing."""
        seconds = {"decoding": self.waiting, "engine": self.engine, "writing": self.writing}
        return max(seconds, key=lambda name: seconds[name])


@checked
def run_pipeline(
    pictures: Iterable[Picture],
    load: Load,
    infer: Infer,
    *,
    batch_size: int,
    decoders: int,
    stages: Stages | None = None,
    known: Contents | None = None,
    concurrency: Callable[[], int] = lambda: 1,
) -> Generator[Batch, None, None]:
    """Yield a row for each image, in order.

    Args:
        pictures: the images; consumed as needed.
        load: decodes and preprocesses one of them.
        infer: returns the vectors of a batch; called by threads.
        batch_size: images for each call of `infer`; fewer at the end, and if most images fail or are slow to come.
        decoders: number of decoding threads.
        stages: accumulates the seconds of each stage.
        known: vectors of images computed before, which are not computed again.
        concurrency: returns how many calls of `infer` may run at once; called when the first batch is full. With two, a
            GPU computes one batch while the next one is copied to it.
    """
    stages = stages or Stages()
    loaded = map_ahead(
        lambda picture: _load_row(picture, load),
        pictures,
        workers=decoders,
        ahead=2 * batch_size + decoders,
        stages=stages,
    )
    # A copy of an image may need the vectors of the batch before.
    most = (lambda: 1) if known else concurrency
    with closing(loaded), closing(_infer(_fill(loaded, batch_size, stages, known), infer, most, stages)) as inferred:
        for work, columns in inferred:
            yield work.finish(columns, known)


_LoadedRow = tuple[Row, tuple[Floats, ...] | None, float]


def _fill(
    loaded: Iterable[_LoadedRow], batch_size: int, stages: Stages, known: Contents | None
) -> Generator["_Work", None, None]:
    """Yield batches of loaded images, each as soon as it is full or late."""
    work, started = _Work(), time.monotonic()
    for row, images, seconds in loaded:
        stages.decoding += seconds
        stages.copies += work.add(row, images, known)
        is_late = time.monotonic() - started >= _BATCH_SECONDS
        if len(work.images) == batch_size or len(work.rows) == 4 * batch_size or is_late:
            yield work
            work, started = _Work(), time.monotonic()
    if work.rows:
        yield work


def _infer(
    works: Iterable["_Work"], infer: Infer, concurrency: Callable[[], int], stages: Stages
) -> Generator[tuple["_Work", ColumnVectors], None, None]:
    """Yield each batch with its vectors, in order. Up to `concurrency()` batches are computed at once."""

    def run(images: list[tuple[Floats, ...]]) -> ColumnVectors:
        return infer(tuple(np.stack(batch) for batch in zip(*images, strict=True))) if images else {}

    most: int | None = None
    running: deque[tuple[_Work, Future[ColumnVectors]]] = deque()

    def finished() -> tuple[_Work, ColumnVectors]:
        started = time.perf_counter()
        work, future = running.popleft()
        try:
            return work, future.result()
        finally:
            del future  # its error refers to this frame: a reference cycle would keep both alive
            stages.engine += time.perf_counter() - started

    with ThreadPoolExecutor(_MAX_CONCURRENT, "pnasnet-network") as pool:
        for work in works:
            if most is None and work.images:
                most = min(concurrency(), _MAX_CONCURRENT)
            running.append((work, pool.submit(run, work.images)))
            while len(running) >= (most or 1):
                yield finished()
        while running:
            yield finished()


@dataclass
class _Work:
    """A batch to compute.

    Attributes:
        rows: its rows.
        images: the inputs of each image to compute, one for each network.
        vectors: for each row without error: the index in `images`, or the vectors if they are known.
        places: the index in `images` of each digest.
    """

    rows: list[Row] = field(default_factory=list)
    images: list[tuple[Floats, ...]] = field(default_factory=list)
    vectors: list[int | ColumnVectors] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)

    def add(self, row: Row, images: tuple[Floats, ...] | None, known: Contents | None) -> bool:
        """Add a row, and its images unless it failed or their vectors are known. Return whether they are known."""
        self.rows.append(row)
        if images is None:
            return False
        if known and row.digest:
            place = self.places.get(row.digest)
            found = known.find(row.digest) if place is None else place
            if found is not None:
                self.vectors.append(found)
                return True
            self.places[row.digest] = len(self.images)
        self.vectors.append(len(self.images))
        self.images.append(images)
        return False

    def finish(self, columns: ColumnVectors, known: Contents | None) -> Batch:
        """Return the batch with computed and known vectors, and add the computed ones to `known`."""
        if known is None:
            return Batch(tuple(self.rows), columns)
        computed = [{name: vectors[place] for name, vectors in columns.items()} for place in range(len(self.images))]
        for digest, place in self.places.items():
            known.add(digest, computed[place])
        each = [computed[found] if isinstance(found, int) else found for found in self.vectors]
        whole = {name: np.stack([vectors[name] for vectors in each]) for name in (each[0] if each else ())}
        return Batch(tuple(self.rows), whole)


def _load_row(picture: Picture, load: Load) -> _LoadedRow:
    started = time.perf_counter()
    try:
        loaded = load(picture)
    except ImageError as error:
        row = Row(picture.name, error=clean(str(error)), unreachable=isinstance(error, UnreachableError))
        return row, None, time.perf_counter() - started
    row = Row(picture.name, loaded.width, loaded.height, digest=loaded.digest, unturned=loaded.unturned)
    return row, loaded.images, time.perf_counter() - started


def map_ahead(
    function: Callable[[Picture], R],
    pictures: Iterable[Picture],
    *,
    workers: int,
    ahead: int,
    stages: Stages | None = None,
) -> Generator[R, None, None]:
    """Yield `function(picture)` for each image, in order, while threads work on the next ones.

    Up to `ahead` images are in work, or up to `AHEAD_BYTES` of their encoded bytes. The seconds spent waiting for
    results are added to `stages`.
    """
    stages = stages or Stages()
    pending: deque[tuple[int, Future[R]]] = deque()

    def next_result() -> R:
        started = time.perf_counter()
        result = pending.popleft()[1].result()
        stages.waiting += time.perf_counter() - started
        return result

    with ThreadPoolExecutor(workers, "pnasnet-decoder") as pool:
        try:
            for picture in pictures:
                pending.append((picture.held, pool.submit(function, picture)))
                while len(pending) > ahead or sum(held for held, _ in pending) > AHEAD_BYTES:
                    yield next_result()
            while pending:
                yield next_result()
        finally:  # if the caller stops early, start no more
            for _, future in pending:
                future.cancel()
