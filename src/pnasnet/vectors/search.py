"""Finds the nearest vectors by reading all of them, without an index."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..support.arguments import checked
from ..support.progress import Progress, counter, silent
from ..support.typed import whole_number
from .features import Features, Ids
from .parts import Numbers
from .sketch import Vectors, unit


@dataclass(frozen=True)
class Nearest:
    """The rows most similar to a query, most similar first.

    Attributes:
        ids: ids of the rows, int64 [k].
        similarities: cosines, float32 [k] in [-1, 1].
        proved: whether it is certain that no nearer row was missed.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import open_features, search_exactly
        >>> features = open_features("features.parquet")
        >>> (nearest,) = search_exactly(features, features.vectors(np.array([2])), k=2)
        >>> nearest.ids[0], round(float(nearest.similarities[0]), 4)
        (np.int64(2), 1.0)
    """

    ids: Ids
    similarities: Vectors
    proved: bool = True


NOTHING = Nearest(np.empty(0, np.int64), np.empty(0, np.float32))


@checked
def search_exactly(
    features: Features,
    queries: Numbers,
    k: int,
    *,
    without: Sequence[int | None] = (),
    progress: Progress = silent,
) -> list[Nearest]:
    """Return the `k` nearest rows of each query by cosine, after reading all vectors once.

    Args:
        features: the vectors to search.
        queries: vectors, [Q, F], of any norm.
        k: number of neighbours; fewer are returned if there are fewer.
        without: for each query, the id of a row to leave out, such as its own, or None.
        progress: receives the rows done in the stage `search`.

    Raises:
        InputError: `k` is below 1, the queries have another shape, a part cannot be read, or there are no vectors.

    Example:
        >>> import numpy as np
        >>> from pnasnet.vectors import open_features, search_exactly
        >>> features = open_features("features.parquet")
        >>> (nearest,) = search_exactly(features, features.vectors(np.array([2])), k=2)
        >>> features.entries(nearest.ids)[0].path
        'photos/coffee.jpg'
    """
    check_queries(features.length, queries, k)
    best = [NOTHING] * len(queries)
    wanted = unit(queries)
    seen, advance = 0, counter(progress, "search", features.rows)
    for block in features.blocks():
        seen += len(block.ids)
        scores = np.clip(wanted @ unit(block.vectors).T, -1, 1)
        best = [keep_best(one, block.ids, row, k + 1) for one, row in zip(best, scores, strict=True)]
        advance(len(block.ids))
    if not seen:
        raise no_vectors(features)
    return [leave_out(one, own, k) for one, own in zip(best, without or [None] * len(best), strict=True)]


def keep_best(best: Nearest, ids: Ids, similarities: Vectors, k: int) -> Nearest:
    """Return the `k` most similar among the best and new rows. Equally similar rows are in the order of their ids."""
    if len(ids) > k:
        chosen = np.argpartition(-similarities, k - 1)[:k]
        # Keep all ties for the last place: the result must not depend on the order of argpartition.
        chosen = np.flatnonzero(similarities >= similarities[chosen].min())
        ids, similarities = ids[chosen], similarities[chosen]
    ids = np.concatenate([best.ids, ids])
    similarities = np.concatenate([best.similarities, similarities])
    order = np.lexsort((ids, -similarities))[:k]
    return Nearest(ids[order], similarities[order])


def leave_out(found: Nearest, own: int | None, k: int) -> Nearest:
    """Return at most `k` of the rows found, without the row `own`."""
    kept = np.flatnonzero(found.ids != own)[:k] if own is not None else np.arange(min(k, len(found.ids)))
    return replace(found, ids=found.ids[kept], similarities=found.similarities[kept])


def check_queries(length: int, queries: Numbers, k: int) -> None:
    """Raise `InputError` unless `queries` has the shape [Q, length], and `k` is a whole number from 1 up."""
    whole_number("k", k)
    if queries.ndim != 2 or queries.shape[1] != length:
        raise InputError(f"queries must have shape [Q, {length}], not {list(queries.shape)}")


def no_vectors(features: Features) -> InputError:
    """Return the error for features without any vector."""
    return InputError(f"{features.path} holds no vectors: all of its {features.rows:,} images failed")
