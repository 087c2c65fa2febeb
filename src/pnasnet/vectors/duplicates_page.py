"""The page of `pnasnet duplicates`: groups with the image to keep, and galleries of unusual images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..reports.pages import render
from ..support.arguments import checked
from ..support.progress import Progress, silent
from ..support.text import counted
from ..support.typed import whole_number
from .duplicates import RULE, Group
from .features import Entry, Features, Ids
from .gallery import Shown, facts, fitting, not_shown, show
from .index import VectorIndex
from .measures import MEASURES, OUTLIER_SCORE, outlier_limit, sort_into_galleries
from .search import search_exactly

if TYPE_CHECKING:
    from ..pictures import Access

MEASURED = 2000
"""Default number of images among which a page looks for unusual ones."""
_IN_GALLERY = 48
"""Limit of images shown in a gallery."""


@dataclass(frozen=True)
class UnusualImages:
    """A gallery of unusual images.

    Attributes:
        title: its heading.
        about: what is measured, the source, and the threshold.
        pictures: the images to show, each with its value as text, most unusual first.
        count: number of all such images.
    """

    title: str
    about: str
    pictures: Sequence[tuple[Shown, str]]
    count: int


@checked
def sample_rows(index: VectorIndex, count: int = MEASURED) -> Ids:
    """Return up to `count` rows, spread evenly over the vectors of an index. Raises `InputError` below 0."""
    count = min(whole_number("count", count, 0), index.count)
    places = np.linspace(0, index.count - 1, count).astype(np.int64)
    return index.ids(np.unique(places))


def _about(groups: int, threshold: float) -> str:
    if not groups:
        return f"There are no near duplicates, images with a similarity of {threshold:g} or more."
    return (
        f"{counted(groups, 'group')} of near duplicates, the largest first. The similarity of each image to the first "
        f"one is {threshold:g} or more. {RULE.capitalize()}."
    )


@checked
def duplicates_page(
    features: Features,
    groups: Sequence[tuple[Group, Sequence[Entry]]],
    threshold: float,
    access: "Access",
    sample: Ids | None = None,
    progress: Progress = silent,
) -> str:
    """Return a page with groups of near duplicates, largest first, and galleries of unusual images.

    Args:
        features: the table of the images.
        groups: the groups, each with its images: the one to keep, then the others.
        threshold: the lowest similarity to the image to keep.
        access: the files and hosts that may be opened.
        sample: rows among which to find outliers and dark, one-colour or blurry images; None or empty for none.
        progress: receives the images and rows done in the stages `thumbnails` and `search`.
    """
    sizes = [len(entries) for _, entries in groups]
    chosen = [(group, entries[:fit]) for (group, entries), fit in zip(groups, fitting(sizes), strict=True) if fit]
    members = [entry for _, entries in chosen for entry in entries]
    sampled = features.entries(sample) if sample is not None else []
    shown = show(features, [*members, *sampled], access, progress=progress)
    pictures = iter(shown)
    return render(
        "duplicates.html",
        {
            "title": "Near duplicates" if not sampled else "Near duplicates and unusual images",
            "about": _about(len(groups), threshold),
            "stated": facts(features),
            "groups": [
                [(next(pictures), similarity) for similarity in group.similarities[: len(entries)].tolist()]
                for group, entries in chosen
            ],
            "why": _why,
            "more": not_shown(sizes),
            "galleries": list(_galleries(features, sample, shown[len(members) :], progress)) if len(sampled) else [],
            "measured": sum(each.jpeg is not None for each in shown[len(members) :]),
            "rows": features.rows,
        },
    )


def _why(group: Sequence[tuple[Shown, float]]) -> str:
    """Return the reason to keep the first image of a group."""
    first, others = group[0][0], [each for each, _ in group[1:]]
    pixels = [(each.entry.width or 0) * (each.entry.height or 0) for each in (first, *others)]
    files = [each.file_size or 0 for each in (first, *others)]
    if not pixels[0]:
        reason = "the first row; numbers of pixels are unknown"
    elif pixels[0] > max(pixels[1:]):
        reason = "the most pixels"
    else:
        reason = f"the first row of {counted(pixels.count(pixels[0]), 'image')} with the most pixels"
    if not files[0]:
        return reason
    if files[0] >= max(files[1:]):
        return f"{reason}, and the largest file" if files[0] > max(files[1:]) else f"{reason}; no file is larger"
    return f"{reason}; but another file is larger"


def _galleries(features: Features, ids: Any, pictures: Sequence[Shown], progress: Progress) -> Iterator[UnusualImages]:
    """Yield a gallery of the outliers among some rows, then one for each of `MEASURES`."""
    nearest = search_exactly(features, features.vectors(ids), 1, without=ids.tolist(), progress=progress)
    similarities = np.array([one.similarities[0] if len(one.similarities) else 1 for one in nearest], np.float32)
    limit = outlier_limit(similarities)
    order = [place for place in np.argsort(similarities, kind="stable").tolist() if similarities[place] < limit]
    yield UnusualImages(
        "Outliers",
        "The similarity to the nearest of all images, the lowest first: like nothing else here to the network. Listed "
        f"are values below {limit:.4f}, a modified z-score of -{OUTLIER_SCORE:g} (Iglewicz and Hoaglin, 1993).",
        [(pictures[place], f"nearest {similarities[place]:.4f}") for place in order[:_IN_GALLERY]],
        len(order),
    )
    for measure, found in zip(MEASURES, sort_into_galleries([each.jpeg for each in pictures]), strict=True):
        yield UnusualImages(
            measure.title,
            f"{measure.about} Listed are values below {measure.threshold:g}.",
            [(pictures[place], f"{measure.unit} {value:.3g}") for place, value in found[:_IN_GALLERY]],
            len(found),
        )
