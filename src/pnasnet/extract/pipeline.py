"""Pictures through decoders and an engine, in order, with a bounded number of them on their way.

    pictures ─► decoder threads ─► batches, filled across files and shards ─► engine ─► batches of rows

Decoding runs ahead of the engine by two batches, however long the input is, so that the memory in use does not grow
with it. A picture that cannot be decoded keeps its row and stops nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

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
    """A picture as the networks take it: float32 [h, w, 3] in [0, 1] for each; and its size as decoded."""

    images: tuple[Floats, ...]
    width: int
    height: int
    digest: bytes | None = None
    """Of its content, where pictures that are equal are computed once."""


Load = Callable[[T], Prepared]
"""From whatever stands for a picture to network input; raises `ImageError`. Called from several threads."""
Infer = Callable[[tuple[Floats, ...]], Mapping[str, NDArray[np.floating]]]
"""From batches [B, h, w, 3], one for each network, to vectors [B, F] by column."""


@dataclass(frozen=True)
class Row:
    """What became of one picture: its size as decoded, or one line that says why it failed."""

    path: str
    width: int | None = None
    height: int | None = None
    error: str | None = None
    digest: bytes | None = None
    missed: float | None = None
    """When it was found that it cannot be reached, which may pass, by `time.monotonic`; None where it was reached."""


class Known(Protocol):
    """Vectors [F] by column of contents that were computed before."""

    def find(self, digest: bytes) -> Mapping[str, NDArray[np.floating]] | None:
        """Return a content's vectors."""

    def add(self, digest: bytes, vectors: Mapping[str, NDArray[np.floating]]) -> None:
        """Take the vectors of a content that was not known."""


@dataclass(frozen=True)
class Batch:
    """Consecutive pictures of the input; `columns` has the vectors [n, F] of the rows without error, in order."""

    rows: tuple[Row, ...]
    columns: Mapping[str, NDArray[np.floating]]

    @property
    def vectors(self) -> NDArray[np.floating]:
        """The vectors, where there is one column; of a batch in which every picture failed, [0, 0]."""
        return next(iter(self.columns.values()), np.empty((0, 0), np.float32))


@dataclass
class Stages:
    """Seconds that the stages took. The first is summed over the decoders; the others follow one upon the other."""

    decoding: float = 0.0
    """Reading, decoding and preprocessing, by all threads together."""
    waiting: float = 0.0
    """For the next picture: what decoding took beyond what the other stages hid."""
    engine: float = 0.0
    writing: float = 0.0
    memory_splits: int = 0
    """How often a batch was halved because the device had not enough memory."""
    copies: int = 0
    """How many vectors were taken from pictures of the same content."""

    def add(self, other: "Stages") -> None:
        """Count what another machine took."""
        for name in ("decoding", "waiting", "engine", "writing", "memory_splits", "copies"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def bottleneck(self) -> str:
        """Which stage the others waited for: decoding, engine or writing."""
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
) -> Generator[Batch, None, None]:
    """Yield a row for each of `pictures`, in their order.

    Args:
        pictures: paths, or whatever else `load` takes; read as they are needed.
        load: decodes and preprocesses one of them.
        infer: gives the vectors of a batch; called in the caller's thread.
        batch_size: how many images `infer` gets: fewer at the end, where most pictures fail, and where the device has
            not enough memory for as many.
        decoders: how many threads decode.
        name: what a picture's row calls it.
        stages: where to count the seconds.
        known: what was computed before; pictures with the digest of one of these are not computed again.
    """
    run = _Run(infer, stages or Stages(), known)
    loaded = map_ahead(
        lambda picture: _load_row(name(picture), picture, load),
        pictures,
        workers=decoders,
        ahead=2 * batch_size + decoders,
        stages=run.stages,
    )
    for row, images, seconds in loaded:
        run.stages.decoding += seconds
        run.take(row, images)
        if len(run.images) == batch_size or len(run.rows) == 4 * batch_size:
            yield run.batch()
    if run.rows:
        yield run.batch()


@dataclass
class _Run:
    """What a run of the pipeline has gathered for its next batch."""

    infer: Infer
    stages: Stages
    known: Known | None
    rows: list[Row] = field(default_factory=list)
    images: list[tuple[Floats, ...]] = field(default_factory=list)
    vectors: list["int | Mapping[str, NDArray[np.floating]]"] = field(default_factory=list)
    """Of each row without error: which of the images it is, or its vectors, if they are known."""
    places: dict[bytes, int] = field(default_factory=dict)
    """Of the images, by digest."""

    def take(self, row: Row, images: tuple[Floats, ...] | None) -> None:
        """Take a row; what has to be computed for it becomes part of the batch."""
        self.rows.append(row)
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
        """Return the next batch."""
        started = time.perf_counter()
        columns = self._infer(self.images) if self.images else {}
        self.stages.engine += time.perf_counter() - started
        if self.known:
            columns = self._filled(columns, self.known)
        batch = Batch(tuple(self.rows), columns)
        self.rows, self.images, self.vectors, self.places = [], [], [], {}
        return batch

    def _filled(self, columns: Mapping[str, NDArray[np.floating]], known: Known) -> Mapping[str, NDArray[np.floating]]:
        """Return the vectors of all rows, known ones included, and let those that are new be known."""
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
        missed = time.monotonic() if isinstance(error, UnreachableError) else None
        row = Row(name, error=clean(utf8(str(error))), missed=missed)
        return row, None, time.perf_counter() - started
    row = Row(name, loaded.width, loaded.height, digest=loaded.digest)
    return row, loaded.images, time.perf_counter() - started


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int, stages: Stages | None = None
) -> Generator[R, None, None]:
    """Yield `function(item)` for each of `items`, in order, while threads work at up to `ahead` items to come.

    The seconds that are waited for them are counted in `stages`.
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
