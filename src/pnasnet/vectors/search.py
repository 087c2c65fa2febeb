"""The nearest vectors, found by reading all of them; needs no index."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..support.progress import Progress, counter, silent
from .features import Features, Ids
from .parts import Numbers
from .sketch import Vectors, unit


@dataclass(frozen=True)
class Nearest:
    """The rows most similar to a query, most similar first.

    Attributes:
        ids: the rows, [k].
        similarities: cosines, float32 [k].
        proved: whether no nearer row can have been missed.
    """

    ids: Ids
    similarities: Vectors
    proved: bool = True


NOTHING = Nearest(np.empty(0, np.int64), np.empty(0, np.float32))


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
        features: where to search.
        queries: [Q, F], of any lengths.
        k: the number of neighbours; fewer are returned if there are fewer.
        without: for each query a row that is not returned, or None: the query's own.
        progress: the stage is `search`.

    Raises:
        InputError: `k` is below 1, the queries do not have F numbers, a part cannot be read, or there are no vectors.
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
    """Return the `k` most similar of the known and the new rows; among equals the lower id comes first."""
    if len(ids) > k:
        chosen = np.argpartition(-similarities, k - 1)[:k]
        # All that equal the last of them: which of these are kept must not depend on chance.
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
    """Raise `InputError` if such queries cannot be answered."""
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 neighbour")
    if queries.ndim != 2 or queries.shape[1] != length:
        raise InputError(f"queries of shape {list(queries.shape)} for vectors of {length} numbers: give [Q, {length}]")


def no_vectors(features: Features) -> InputError:
    """Return the error for features without any vector."""
    return InputError(f"{features.path} holds no vectors: all of its {features.rows:,} pictures failed")
