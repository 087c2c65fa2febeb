"""The nearest vectors, by reading all of them: what needs no index."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .features import Features, Ids
from .sketch import Vectors, unit


@dataclass(frozen=True)
class Nearest:
    """The rows most similar to a query, the most similar first.

    Attributes:
        ids: which they are, [k].
        similarities: cosines, float32 [k].
        proved: whether nothing nearer can have been missed.
    """

    ids: Ids
    similarities: Vectors
    proved: bool = True


NOTHING = Nearest(np.empty(0, np.int64), np.empty(0, np.float32))


def search_exactly(
    features: Features,
    queries: Vectors,
    k: int,
    *,
    without: Sequence[int | None] = (),
    progress: Callable[[int], None] = lambda rows: None,
) -> list[Nearest]:
    """Return the `k` nearest rows of each query by cosine, after reading all vectors once.

    Args:
        features: where to look.
        queries: [Q, F], of any length.
        k: how many, or all there are.
        without: for each query an id that is not to be found: the query's own.
        progress: called with the number of vectors read.

    Raises:
        InputError: `k` is below 1, queries are of another length, a part cannot be read, or there are no vectors.
    """
    check_queries(features.length, queries, k)
    best = [NOTHING] * len(queries)
    wanted = unit(queries)
    seen = 0
    for block in features.blocks():
        seen += len(block.ids)
        scores = wanted @ unit(block.vectors).T
        best = [keep_best(one, block.ids, row, k + 1) for one, row in zip(best, scores, strict=True)]
        progress(len(block.ids))
    if not seen:
        raise no_vectors(features)
    return [leave_out(one, own, k) for one, own in zip(best, without or [None] * len(best), strict=True)]


def keep_best(best: Nearest, ids: Ids, similarities: Vectors, k: int) -> Nearest:
    """Return the `k` most similar of what is known and what is new; of equal ones the lower id is ahead."""
    if len(ids) > k:
        chosen = np.argpartition(-similarities, k - 1)[:k]
        # All that are equal to the last of them, so that which are kept does not depend on chance.
        chosen = np.flatnonzero(similarities >= similarities[chosen].min())
        ids, similarities = ids[chosen], similarities[chosen]
    ids = np.concatenate([best.ids, ids])
    similarities = np.concatenate([best.similarities, similarities])
    order = np.lexsort((ids, -similarities))[:k]
    return Nearest(ids[order], similarities[order])


def leave_out(found: Nearest, own: int | None, k: int) -> Nearest:
    """Return at most `k` of what was found, without the row `own`."""
    kept = np.flatnonzero(found.ids != own)[:k] if own is not None else np.arange(min(k, len(found.ids)))
    return replace(found, ids=found.ids[kept], similarities=found.similarities[kept])


def check_queries(length: int, queries: Vectors, k: int) -> None:
    """Raise `InputError` where such queries cannot be answered."""
    if k < 1:
        raise InputError(f"k is {k}: ask for at least 1 neighbour")
    if queries.ndim != 2 or queries.shape[1] != length:
        raise InputError(f"queries of shape {list(queries.shape)} for vectors of {length} numbers: give [Q, {length}]")


def no_vectors(features: Features) -> InputError:
    """Return the error for features that hold none."""
    return InputError(f"{features.path} holds no vectors: all of its {features.rows:,} pictures failed")
