"""`pnasnet duplicates`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.files import check_target
from .logs import show_logs
from .progress import rows_bar
from .sections import command
from .vectors import opened_index

if TYPE_CHECKING:
    from ..vectors import Features, Group, Picture

_THRESHOLD = 0.95  # vectors.THRESHOLD, which is not imported only for --help; a test compares them


@command()
@click.argument("features")
@click.option(
    "--threshold",
    type=float,
    default=_THRESHOLD,
    show_default=True,
    metavar="X",
    help="Smallest similarity, above 0 up to 1.",
)
@click.option("--column", metavar="NAME", help="Column with the vectors, if FEATURES has several.")
@click.option("--html", metavar="FILE", help="Also write a page with the photos. An existing FILE is replaced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per group and line.")
@click.option("-q", "--quiet", is_flag=True, help="Print neither a progress bar nor notes.")
def duplicates(
    features: str, threshold: float, column: str | None, html: str | None, as_json: bool, quiet: bool
) -> None:
    """Print groups of near duplicates.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`. Two photos
    are in one group if the cosine of their vectors is at least the threshold, directly or through other photos. All
    pairs are compared, with FEATURES.index if it exists (see `pnasnet similar --index`), else with a temporary index.
    Photos of a page that can no longer be opened are counted.

    \b
      pnasnet duplicates features.parquet
      pnasnet duplicates features/ --threshold 0.9 --html duplicates.html
      pnasnet duplicates features/ --json | jq -r '.pictures[1:][].path'
    """
    from ..vectors import check_threshold, find_duplicates, open_features

    check_threshold(threshold)  # before an index is made
    if html:
        check_target(Path(html))
    opened = open_features(features, column)
    with opened_index(opened, quiet) as index:
        with rows_bar("compare", index.count, quiet) as advance:
            groups = find_duplicates(index, threshold, progress=advance)
        count = index.count
    described = [(group, opened.pictures(group.ids)) for group in groups]
    for number, (group, pictures) in enumerate(described, 1):
        (_print_json if as_json else _print)(number, group, pictures)
    if not as_json:
        members = sum(len(pictures) for _, pictures in described)
        click.echo(
            f"{len(groups):,} {'group' if len(groups) == 1 else 'groups'} with {members:,} of {count:,} pictures, "
            f"similarity {threshold:g} or more"
        )
    if html:
        show_logs(quiet=quiet)
        _write_page(Path(html), opened, described, threshold)
        if not quiet:
            click.echo(f"{html}: written", err=True)


def _print(number: int, group: "Group", pictures: "list[Picture]") -> None:
    from ..support.text import clean

    click.echo(f"group {number}")
    for picture, similarity in zip(pictures, group.similarities.tolist(), strict=True):
        size = f"{picture.width}x{picture.height}" if picture.width else ""
        click.echo(f"  {similarity:7.4f}  {size:>11}  {clean(picture.path)}")


def _print_json(number: int, group: "Group", pictures: "list[Picture]") -> None:
    listed = [
        {"path": picture.path, "similarity": similarity, "width": picture.width, "height": picture.height}
        for picture, similarity in zip(pictures, group.similarities.tolist(), strict=True)
    ]
    click.echo(json.dumps({"group": number, "pictures": listed}))


def _write_page(
    path: Path, features: "Features", described: "list[tuple[Group, list[Picture]]]", threshold: float
) -> None:
    from ..support.files import write_text
    from ..support.text import counted
    from ..vectors import Row, Shown, gallery_page

    rows = [
        Row(
            f"Group {number}: {counted(len(pictures), 'picture')}",
            [
                Shown(picture, similarity if place else None)
                for place, (picture, similarity) in enumerate(zip(pictures, group.similarities.tolist(), strict=True))
            ],
        )
        for number, (group, pictures) in enumerate(described, 1)
    ]
    about = (
        f"{counted(len(rows), 'group')} of pictures that are nearly the same: similarity {threshold:g} or more to "
        "another one of the group. The figures say how similar each is to the first."
    )
    write_text(path, gallery_page("Near duplicates", about, features, rows))
