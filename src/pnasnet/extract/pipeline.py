"""Pictures through decoders and an engine, in order, with a bounded number of them on their way.

    paths ─► decoder threads ─► batches, filled across files ─► engine ─► batches of rows

Decoding runs ahead of the engine by two batches, however long the input is, so that the memory in use does not grow
with it. A picture that cannot be decoded keeps its row and stops nothing.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..images import Loaded

T = TypeVar("T")
R = TypeVar("R")

Load = Callable[[T], Loaded]
"""From a path to a float32 [h, w, 3] image in [0, 1]; raises `ImageError`. Called from several threads."""
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From float32 images [B, h, w, 3] to float32 vectors [B, F]."""


@dataclass(frozen=True)
class Row:
    """What became of one picture: its size as decoded, or one line that says why it failed."""

    path: str
    width: int | None = None
    height: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Batch:
    """Consecutive pictures of the input; `vectors`, float32 [n, F], are those of the rows without error, in order."""

    rows: tuple[Row, ...]
    vectors: NDArray[np.float32]


def run_pipeline(
    paths: Iterable[T],
    load: Load[T],
    infer: Infer,
    *,
    batch_size: int,
    decoders: int,
    name: Callable[[T], str] = str,
) -> Generator[Batch, None, None]:
    """Yield a row for each of `paths`, in their order.

    Args:
        paths: the pictures, by path or by whatever `load` takes; read as they are needed.
        load: decodes and preprocesses one of them.
        infer: gives the vectors of a batch; called in the caller's thread.
        batch_size: how many images `infer` gets: fewer at the end, and where most pictures fail.
        decoders: how many threads decode.
        name: what a picture's row calls it.
    """
    ahead = 2 * batch_size + decoders
    rows: list[Row] = []
    images: list[NDArray[np.float32]] = []
    for row, image in _map_ahead(lambda path: _load_row(name(path), path, load), paths, workers=decoders, ahead=ahead):
        rows.append(row)
        if image is not None:
            images.append(image)
        if len(images) == batch_size or len(rows) == 4 * batch_size:
            yield _infer_batch(rows, images, infer)
            rows, images = [], []
    if rows:
        yield _infer_batch(rows, images, infer)


def _load_row(name: str, path: T, load: Load[T]) -> tuple[Row, NDArray[np.float32] | None]:
    try:
        loaded = load(path)
    except ImageError as error:
        return Row(name, error=str(error)), None
    return Row(name, loaded.width, loaded.height), loaded.image


def _infer_batch(rows: list[Row], images: list[NDArray[np.float32]], infer: Infer) -> Batch:
    return Batch(tuple(rows), infer(np.stack(images)) if images else np.empty((0, 0), np.float32))


def _map_ahead(function: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int) -> Generator[R, None, None]:
    """Yield `function(item)` for each of `items`, in order, while threads work at up to `ahead` items to come."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, "pnasnet-decoder") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # the caller may stop early: start nothing more
            for future in pending:
                future.cancel()
