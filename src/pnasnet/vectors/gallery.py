"""Pages of images: similar ones, and near duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..reports.pages import data_url, render
from ..support.text import counted
from .duplicates import RULE, Group
from .features import Entry, Features
from .opening import open_thumbnails
from .similar import Answer

if TYPE_CHECKING:
    from ..pictures import Access

MOST_PICTURES = 2000
"""Limit of images on a page; further ones are counted."""

_SIDE = 256


@dataclass(frozen=True)
class Shown:
    """An image with its similarity to the first one of its section, which has a label instead."""

    entry: Entry
    similarity: float | None = None
    label: str = ""


Section = tuple[str, Sequence[Shown]]
"""A heading, and the images under it."""


def similar_page(features: Features, answers: Sequence[Answer], access: "Access") -> str:
    """Return a page with each query and the images most similar to it."""
    sections = [
        (
            answer.query.path,
            [
                Shown(Entry(answer.query.path), label="query"),
                *(Shown(entry, value) for entry, value in zip(answer.entries, answer.similarities, strict=True)),
            ],
        )
        for answer in answers
        if answer.query.error is None
    ]
    about = f"The most similar of {counted(features.rows, 'image')}, most similar first."
    if any(answer.approximate for answer in answers):
        about += " The search was approximate: some of the most similar may be missing."
    typed = frozenset(answer.query.path for answer in answers)
    return gallery_page("Similar images", about, features, sections, access, typed)


def duplicates_page(
    features: Features, groups: Sequence[tuple[Group, Sequence[Entry]]], threshold: float, access: "Access"
) -> str:
    """Return a page with groups of near duplicates; the first image of each is the one to keep."""
    sections = [
        (
            f"Group {number}: {counted(len(entries), 'image')}",
            [
                Shown(entry, None if place == 0 else similarity, "keep" if place == 0 else "")
                for place, (entry, similarity) in enumerate(zip(entries, group.similarities.tolist(), strict=True))
            ],
        )
        for number, (group, entries) in enumerate(groups, 1)
    ]
    about = (
        f"{counted(len(sections), 'group')} of near duplicates, the largest first. The similarity of each image to "
        f"the one to keep is {threshold:g} or more. {RULE.capitalize()}."
    )
    return gallery_page("Near duplicates", about, features, sections, access)


def gallery_page(
    title: str,
    about: str,
    features: Features,
    sections: Sequence[Section],
    access: "Access",
    trusted: frozenset[str] = frozenset(),
) -> str:
    """Return a page of sections of images; images that cannot or must not be opened have placeholders.

    `trusted` are names that the user typed. Warnings count the placeholders, with the reasons.
    """
    chosen, left, hidden = [], MOST_PICTURES, 0
    for heading, pictures in sections:
        hidden += max(len(pictures) - left, 0)
        if left > 0:
            chosen.append((heading, pictures[:left]))
        left = max(left - len(pictures), 0)
    names = [each.entry.path for _, pictures in chosen for each in pictures]
    images = iter(list(open_thumbnails(features, names, access, _SIDE, trusted=trusted)))
    shown = [(heading, [(each, data_url(next(images))) for each in pictures]) for heading, pictures in chosen]
    return render(
        "gallery.html",
        {
            "title": title,
            "about": about,
            "source": str(features.path),
            "metadata": features.metadata,
            "sections": shown,
            "more": counted(hidden, "more image") if hidden else "",
        },
    )
