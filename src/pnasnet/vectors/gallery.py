"""Pages of pictures: those that are similar to others, and those that are nearly the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..reports.pages import data_url, render
from ..support.text import counted
from .features import Features, Picture

MOST_PICTURES = 2000
"""So many pictures a page shows; the rest is counted."""

_SIDE = 256


@dataclass(frozen=True)
class Shown:
    """A picture with its similarity to what it is shown beside; None for that itself."""

    picture: Picture
    similarity: float | None = None


@dataclass(frozen=True)
class Row:
    """Pictures that belong together, under a heading; the first one is what the others are compared with."""

    title: str
    pictures: Sequence[Shown]


def gallery_page(title: str, about: str, features: Features, rows: Iterable[Row]) -> str:
    """Return a page of rows of pictures; one that cannot be opened any more has a placeholder with its name.

    A warning is logged that says how many these are, and why.
    """
    from ..extract import thumbnails  # brings much that commands on vectors else do without

    chosen, left = [], MOST_PICTURES
    hidden = 0
    for row in rows:
        hidden += max(len(row.pictures) - left, 0)
        if left > 0:
            chosen.append(Row(row.title, row.pictures[:left]))
        left = max(left - len(row.pictures), 0)
    paths = [each.picture.path for row in chosen for each in row.pictures]
    images = iter(list(thumbnails(paths, _SIDE, exif=features.metadata.get("exif") == "true")))
    shown = [(row.title, [(each, data_url(next(images))) for each in row.pictures]) for row in chosen]
    return render(
        "gallery.html",
        {
            "title": title,
            "about": about,
            "source": str(features.path),
            "metadata": features.metadata,
            "rows": shown,
            "more": counted(hidden, "more picture") if hidden else "",
        },
    )
