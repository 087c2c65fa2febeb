"""`pnasnet duplicates`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ..support.text import counted
from .errors import checking_usage
from .logs import show_logs
from .numbers import Real, Whole
from .options import QUIET, flag
from .printing import say, to_json
from .progress import bars
from .sections import command, section
from .tables import TableColumn, last_folders, note_left_out, print_table
from .values import paths
from .vectors import PAGE, check_page, column_options, opened_index, page_options, write_page

if TYPE_CHECKING:
    from ..pictures import Access
    from ..vectors import Entry, Group

    Groups = Iterable[tuple[Group, list[Entry]]]

# These equal vectors.THRESHOLD and vectors.MEASURED, whose import would slow down --help; a test compares them.
_THRESHOLD, _EXAMINED = 0.95, 2000


@command()
@click.argument("features", shell_complete=paths)
@click.option(
    "--threshold",
    type=Real(),
    default=_THRESHOLD,
    show_default=True,
    metavar="X",
    help="Least similarity to the image to keep, above 0 and at most 1.",
)
@flag("--json", "as_json", help="Print one JSON object per line and group.")
@QUIET
@column_options
@page_options
@section(
    PAGE,
    click.option(
        "--examine",
        type=Whole(0),
        default=_EXAMINED,
        show_default=True,
        metavar="N",
        help="Look for outliers and for dark, one-colour or blurry images among N, spread evenly; 0 for none.",
    ),
)
def duplicates(
    features: str,
    threshold: float,
    examine: int,
    column: str | None,
    names: str | None,
    access: "Access",
    html: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print groups of near duplicates, the largest first.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`, or any table with a column
    of vectors. The first image of each group is the one to keep: it has the most pixels or, among equals, the first
    row. Its cosine similarity to every other image of the group is at least the threshold. All pairs are compared, with
    FEATURES.index if it exists (see `pnasnet similar --index`), else with a temporary index. The page of --html also
    lists the images that could go, and shows unusual images, for which it opens up to --examine of all images.

    \b
      pnasnet duplicates features.parquet
      pnasnet duplicates features/ --threshold 0.9 --html duplicates.html
      pnasnet duplicates features/ --json | jq -r '.pictures[1:][].path'
    """
    from ..vectors import duplicates_page, find_duplicates, open_features
    from ..vectors.duplicates import RULE, check_threshold
    from ..vectors.duplicates_page import sample_rows

    with checking_usage():
        check_threshold(threshold)  # fails before an index is built
    check_page(html, (features,))
    show_logs(quiet=quiet)
    opened = open_features(features, column, names)
    with bars(quiet) as progress, opened_index(opened, progress) as index:
        groups = find_duplicates(index, threshold, progress=progress)
        count, sample = index.count, sample_rows(index, examine)
    described = [(group, opened.entries(group.ids)) for group in groups]
    if as_json:
        _print_json(described)
    else:
        _print(described)
        members = sum(len(entries) for _, entries in described)
        say(
            f"{counted(len(groups), 'group')} with {members:,} of {count:,} images, "
            f"similarity {threshold:g} or more{f'; {RULE}' if groups else ''}"
        )
    if html:
        with bars(quiet) as progress:
            page = duplicates_page(opened, described, threshold, access, sample, progress)
        write_page(html, page, quiet=quiet)


_COLUMNS = (
    TableColumn("to keep"),
    TableColumn("similarity"),
    TableColumn("size", right=True, rank=1),
    TableColumn("path", shorten=last_folders),
)


def _print(groups: "Groups") -> None:
    left_out: list[str] = []
    for number, (group, entries) in enumerate(groups, 1):
        say(f"group {number}")
        rows = [
            (
                "" if place else "keep",
                f"{similarity:7.4f}",
                f"{entry.width}x{entry.height}" if entry.width else "",
                entry.path,
            )
            for place, (entry, similarity) in enumerate(zip(entries, group.similarities.tolist(), strict=True))
        ]
        left_out.extend(print_table(_COLUMNS, rows, titles=False, indent="  "))
    note_left_out(left_out)


def _print_json(groups: "Groups") -> None:
    for number, (group, entries) in enumerate(groups, 1):
        listed = [
            {
                "path": entry.path,
                "similarity": similarity,
                "width": entry.width,
                "height": entry.height,
                "keep": place == 0,
            }
            for place, (entry, similarity) in enumerate(zip(entries, group.similarities.tolist(), strict=True))
        ]
        click.echo(to_json({"group": number, "pictures": listed}))
