"""The page of `pnasnet similar`: queries and results, and the neighbours of each image on the page."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..reports.pages import render
from ..support.arguments import checked
from ..support.progress import Progress, silent
from ..support.text import counted
from .features import Entry, Features
from .gallery import Shown, facts, fitting, not_shown, show
from .parts import Numbers
from .similar import Answer
from .sketch import Vectors, unit

if TYPE_CHECKING:
    from ..pictures import Access

_NEIGHBOURS = 24
"""Limit of neighbours of each image, among the images of the page."""
_BLOCK_BYTES = 128 << 20
"""Vectors in memory at a time, twice."""


@checked
def similar_page(features: Features, answers: Sequence[Answer], access: "Access", progress: Progress = silent) -> str:
    """Return a page with each query and the images most similar to it.

    A click on an image makes it the query among the images of the page. Images that cannot or must not be opened have
    placeholders, and log messages count them, with reasons. `progress` receives the images done in the stage
    `thumbnails`.
    """
    found = [answer for answer in answers if answer.query.vector is not None]
    sizes = [1 + len(answer.entries) for answer in found]
    chosen = [
        replace(
            answer,
            entries=answer.entries[: size - 1],
            similarities=answer.similarities[: size - 1],
            ids=answer.ids[: size - 1],
        )
        for answer, size in zip(found, fitting(sizes), strict=True)
        if size
    ]
    entries = [entry for answer in chosen for entry in (_entry(features, answer), *answer.entries)]
    typed = frozenset(answer.query.path for answer in answers)
    shown = show(features, entries, access, trusted=typed, progress=progress)
    pictures = iter(shown)
    sections = [
        (next(pictures), [(next(pictures), similarity) for similarity in answer.similarities]) for answer in chosen
    ]
    return render(
        "similar.html",
        {
            "title": "Similar images",
            "about": f"The most similar of {counted(features.rows, 'image')}, most similar first.",
            "approximate": any(answer.approximate for answer in answers),
            "stated": facts(features),
            "sections": sections,
            "distinct": len({picture.place for picture in shown}),
            "neighbours": _neighbours(features, chosen, shown),
            "more": not_shown(sizes),
        },
    )


def _entry(features: Features, answer: Answer) -> Entry:
    """Return the description of a query, with its width and height if the features hold it."""
    query = answer.query
    if query.id is None:
        return Entry(query.path)
    return replace(features.entries(np.array([query.id]))[0], path=query.path)


def _neighbours(features: Features, answers: Sequence[Answer], shown: Sequence[Shown]) -> list[list[tuple[int, int]]]:
    """Return the neighbours of each distinct image on the page: pairs of place and 10,000 times the cosine."""
    sources: dict[int, int | Numbers] = {}  # by place: the row of the vector, or the vector
    pictures = iter(shown)
    for answer in answers:
        vector = answer.query.vector
        assert vector is not None
        sources.setdefault(next(pictures).place, vector)
        sources.update((next(pictures).place, row) for row in answer.ids)
    cosines = _cosines(features, [sources[place] for place in range(len(sources))])
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(cosines) - 1)]
    rounded = np.rint(np.take_along_axis(cosines, nearest, 1) * 10_000).astype(int)
    return [list(zip(*pair, strict=True)) for pair in zip(nearest.tolist(), rounded.tolist(), strict=True)]


def _cosines(features: Features, sources: Sequence[int | Numbers]) -> Vectors:
    """Return the similarities of all pairs [M, M], with a bounded number of vectors in memory."""
    step = max(1, _BLOCK_BYTES // (4 * features.length))
    blocks = [slice(start, start + step) for start in range(0, len(sources), step)]
    cosines = np.empty((len(sources), len(sources)), np.float32)
    for number, rows in enumerate(blocks):
        these = _vectors(features, sources[rows])
        for columns in blocks[number:]:
            those = these if columns == rows else _vectors(features, sources[columns])
            cosines[rows, columns] = these @ those.T
            cosines[columns, rows] = cosines[rows, columns].T
    clipped: Vectors = np.clip(cosines, -1, 1)
    return clipped


def _vectors(features: Features, sources: Sequence[int | Numbers]) -> Vectors:
    rows = [source for source in sources if isinstance(source, int)]
    stored = iter(features.vectors(np.array(rows, np.int64)))
    return unit(np.stack([next(stored) if isinstance(source, int) else source for source in sources]))
