"""Pictures through decoders and an engine, in order, with a bounded number in flight.

    pictures ─► decoder threads ─► batches, filled across files and shards ─► engine ─► batches of rows

Decoding runs two batches ahead of the engine, so memory does not grow with the input. A picture that cannot be decoded
becomes a row with an error and stops nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, OutOfMemoryError
from ..pictures import UnreachableError
from ..support.paths import utf8
from ..support.text import clean

T = TypeVar("T")
R = TypeVar("R")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prepared:
    """A decoded picture: the input of each network, float32 [h, w, 3] in [0, 1], and its size before resizing."""

    images: tuple[Floats, ...]
    width: int
    height: int
    digest: bytes | None = None
    """The digest of its content, if equal pictures are computed once."""
    unturned: bool = False
    """Whether it has an EXIF orientation that was not applied."""


Load = Callable[[T], Prepared]
"""Decodes a picture; raises `ImageError`. Called by several threads."""
Infer = Callable[[tuple[Floats, ...]], Mapping[str, NDArray[np.floating]]]
"""From batches [B, h, w, 3], one for each network, to vectors [B, F] by column."""


@dataclass(frozen=True)
class Row:
    """The outcome of one picture.

    Attributes:
        path: the picture's name.
        width, height: its size as decoded; None if it failed.
        error: one line that says why it failed; None if it did not.
        unreachable: whether it failed for a reason outside the picture, so that a later run may succeed.
        digest: the digest of its content, if equal pictures are computed once.
        unturned: whether it has an EXIF orientation that was not applied.
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
        return "ok" if self.error is None else "unreachable" if self.unreachable else "error"


class Known(Protocol):
    """Vectors of contents computed before: [F] by column."""

    def find(self, digest: bytes) -> Mapping[str, NDArray[np.floating]] | None:
        """Return the vectors of a content, or None if it is new."""

    def add(self, digest: bytes, vectors: Mapping[str, NDArray[np.floating]]) -> None:
        """Add the vectors of a new content."""


@dataclass(frozen=True)
class Batch:
    """Rows of consecutive pictures.

    Attributes:
        rows: one for each picture.
        columns: the vectors [n, F] of the rows without error, in their order, by column.
        places: what `run_pipeline` was told to keep of each picture.
    """

    rows: tuple[Row, ...]
    columns: Mapping[str, NDArray[np.floating]]
    places: tuple[Any, ...] = ()

    @property
    def vectors(self) -> NDArray[np.floating]:
        """The vectors of the only column; [0, 0] if every picture failed."""
        return next(iter(self.columns.values()), np.empty((0, 0), np.float32))

    def slice(self, start: int, stop: int) -> "Batch":
        """Return some of the rows, with their vectors."""
        first = sum(row.error is None for row in self.rows[:start])
        count = sum(row.error is None for row in self.rows[start:stop])
        columns = {name: vectors[first : first + count] for name, vectors in self.columns.items()}
        return Batch(self.rows[start:stop], columns, self.places[start:stop])


@dataclass
class Stages:
    """Seconds spent in each stage. Decoding is summed over its threads; the others alternate in one thread."""

    decoding: float = 0.0
    """Reading, decoding and preprocessing, by all threads together."""
    waiting: float = 0.0
    """Waiting for the next picture: the part of decoding that the other stages did not hide."""
    engine: float = 0.0
    writing: float = 0.0
    memory_splits: int = 0
    """How often a batch was halved because the device ran out of memory."""
    copies: int = 0
    """How many vectors were copied from pictures with the same content."""

    def add(self, other: "Stages") -> None:
        """Add the figures of another machine."""
        for name in ("decoding", "waiting", "engine", "writing", "memory_splits", "copies"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def bottleneck(self) -> str:
        """The stage that the others waited for: decoding, engine or writing."""
        seconds = {"decoding": self.waiting, "engine": self.engine, "writing": self.writing}
        return max(seconds, key=lambda name: seconds[name])


def run_pipeline(
    pictures: Iterable[T],
    load: Load[T],
    infer: Infer,
    *,
    batch_size: int,
    decoders: int,
    name: Callable[[T], str] = str,
    stages: Stages | None = None,
    known: Known | None = None,
    place: Callable[[T], object] = lambda picture: None,
) -> Generator[Batch, None, None]:
    """Yield a row for each of `pictures`, in their order.

    Args:
        pictures: paths, or anything else that `load` accepts; consumed as needed.
        load: decodes and preprocesses one of them.
        infer: returns the vectors of a batch; called in the caller's thread.
        batch_size: images for each call of `infer`; fewer at the end, if most pictures fail, and if the device runs out
            of memory.
        decoders: number of decoding threads.
        name: returns the name of a picture for its row.
        stages: accumulates the seconds.
        known: vectors of contents computed before, which are not computed again.
        place: returns what a batch keeps of a picture, which itself may hold megabytes.
    """
    run = _Run(infer, stages or Stages(), known)
    loaded = map_ahead(
        lambda picture: (place(picture), *_load_row(name(picture), picture, load)),
        pictures,
        workers=decoders,
        ahead=2 * batch_size + decoders,
        stages=run.stages,
    )
    for kept, row, images, seconds in loaded:
        run.stages.decoding += seconds
        run.add(kept, row, images)
        if len(run.images) == batch_size or len(run.rows) == 4 * batch_size:
            yield run.batch()
    if run.rows:
        yield run.batch()


@dataclass
class _Run:
    """The next batch of a run of the pipeline, as far as it is gathered."""

    infer: Infer
    stages: Stages
    known: Known | None
    rows: list[Row] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    images: list[tuple[Floats, ...]] = field(default_factory=list)
    vectors: list["int | Mapping[str, NDArray[np.floating]]"] = field(default_factory=list)
    """For each row without error: the index of its images, or its vectors if they are known."""
    places: dict[bytes, int] = field(default_factory=dict)
    """Index of images by digest."""

    def add(self, place: Any, row: Row, images: tuple[Floats, ...] | None) -> None:
        """Add a row, and its images unless its vectors are known or it failed."""
        self.rows.append(row)
        self.kept.append(place)
        if images is None:
            return
        if self.known and row.digest:
            place = self.places.get(row.digest)
            found = self.known.find(row.digest) if place is None else place
            if found is not None:
                self.vectors.append(found)
                self.stages.copies += 1
                return
            self.places[row.digest] = len(self.images)
        self.vectors.append(len(self.images))
        self.images.append(images)

    def batch(self) -> Batch:
        """Run the networks, and return the batch."""
        started = time.perf_counter()
        columns = self._infer(self.images) if self.images else {}
        self.stages.engine += time.perf_counter() - started
        if self.known:
            columns = self._filled(columns, self.known)
        batch = Batch(tuple(self.rows), columns, tuple(self.kept))
        self.rows, self.kept, self.images, self.vectors, self.places = [], [], [], [], {}
        return batch

    def _filled(self, columns: Mapping[str, NDArray[np.floating]], known: Known) -> Mapping[str, NDArray[np.floating]]:
        """Return the vectors of all rows, known ones included, and add the new ones to `known`."""
        computed = [{name: vectors[place] for name, vectors in columns.items()} for place in range(len(self.images))]
        for digest, place in self.places.items():
            known.add(digest, computed[place])
        each = [computed[found] if isinstance(found, int) else found for found in self.vectors]
        return {name: np.stack([vectors[name] for vectors in each]) for name in (each[0] if each else ())}

    def _infer(self, images: list[tuple[Floats, ...]]) -> Mapping[str, NDArray[np.floating]]:
        try:
            return self.infer(tuple(np.stack(batch) for batch in zip(*images, strict=True)))
        except OutOfMemoryError:
            if len(images) == 1:
                raise
        self.stages.memory_splits += 1
        halves = [self._infer(images[: len(images) // 2]), self._infer(images[len(images) // 2 :])]
        return {name: np.concatenate([half[name] for half in halves]) for name in halves[0]}


def _load_row(name: str, picture: T, load: Load[T]) -> tuple[Row, tuple[Floats, ...] | None, float]:
    started = time.perf_counter()
    try:
        loaded = load(picture)
    except ImageError as error:
        row = Row(name, error=clean(utf8(str(error))), unreachable=isinstance(error, UnreachableError))
        return row, None, time.perf_counter() - started
    row = Row(name, loaded.width, loaded.height, digest=loaded.digest, unturned=loaded.unturned)
    return row, loaded.images, time.perf_counter() - started


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int, stages: Stages | None = None
) -> Generator[R, None, None]:
    """Yield `function(item)` for each of `items`, in order, while threads work on up to `ahead` further items.

    The seconds spent waiting for them are added to `stages`.
    """
    stages = stages or Stages()
    pending: deque[Future[R]] = deque()

    def next_result() -> R:
        started = time.perf_counter()
        result = pending.popleft().result()
        stages.waiting += time.perf_counter() - started
        return result

    with ThreadPoolExecutor(workers, "pnasnet-decoder") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield next_result()
            while pending:
                yield next_result()
        finally:  # the caller may stop early: start nothing more
            for future in pending:
                future.cancel()
