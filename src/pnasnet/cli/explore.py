"""`pnasnet explore`."""

import importlib.util
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from ..errors import MissingExtraError, OutputError
from ..support.files import check_target
from .errors import end_on_signal
from .logs import show_logs
from .options import Command, bundle
from .progress import bars
from .sections import command
from .vectors import columns, opened_index, photos

if TYPE_CHECKING:
    from ..pictures import Access
    from ..support.progress import Progress
    from ..vectors import ExploreOptions, Features, PictureMap

_EXPLORE = (
    click.option(
        "--points", type=int, metavar="N", help="Show N photos, spread evenly.  [default: all; 50000 with --html]"
    ),
    click.option("--projection", metavar="NAME", help="pca or umap.  [default: umap if installed]"),
    click.option("--neighbours", type=int, metavar="N", help="Nearest neighbours of each photo.  [default: 15]"),
    click.option("--thumbnail", type=int, metavar="N", help="Size of thumbnails in pixels, 8 to 512.  [default: 96]"),
)


def explore_options(command: Command) -> Command:
    """Give a command the options of `ExploreOptions`, as its argument `options`."""

    def load() -> "type[ExploreOptions]":
        from ..vectors import ExploreOptions

        return ExploreOptions

    return bundle(command, "options", load, _EXPLORE)


@command()
@click.argument("features")
@click.option("--html", metavar="FILE", help="Write a page with the map. An existing FILE is replaced.")
@click.option("--table", metavar="FILE", help="Write the table for embedding-atlas. An existing FILE is replaced.")
@columns
@photos
@explore_options
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5055,
    show_default=True,
    metavar="N",
    help="Port of embedding-atlas.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print neither a progress bar nor notes.")
def explore(
    features: str,
    html: str | None,
    table: str | None,
    column: str | None,
    names: str | None,
    access: "Access",
    options: "ExploreOptions",
    port: int,
    quiet: bool,
) -> None:
    """Show photos on a map, similar ones close together.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`. --html writes a page that
    needs only a browser. Without --html or --table, the map opens in Apple's embedding-atlas on a port of this machine
    until Ctrl-C, and uses no network. Photos are opened only below the folders that the run recorded, or --root names;
    those that cannot be opened are counted.

    \b
      pnasnet explore features.parquet --html map.html
      pnasnet explore features.parquet
      pnasnet explore features/ --points 20000 --projection umap --html map.html
    """
    from dataclasses import replace

    from ..support.text import counted
    from ..vectors import PAGE_POINTS, choose_projection, make_map, open_features, write_atlas

    choose_projection(options.projection)  # before an index is made
    if not html and not table and importlib.util.find_spec("embedding_atlas") is None:
        raise MissingExtraError.of("embedding-atlas", "explore", "the explorer (without --html or --table)")
    for path in filter(None, (html, table)):
        check_target(Path(path))
    show_logs(quiet=quiet)
    opened = open_features(features, column, names)
    if html:
        options = replace(options, points=min(options.points or PAGE_POINTS, PAGE_POINTS))
    with bars(quiet) as progress:
        with opened_index(opened, progress) as index:
            shown = make_map(index, options, progress)
        if not quiet:
            _tell(shown)
        if html:
            _write_page(Path(html), opened, shown, options, access, progress)
        if table:
            write_atlas(Path(table), shown, options, access, progress)
            click.echo(f"{table}: {counted(len(shown.pictures), 'picture')}")
        if html or table:
            return
        _explore(shown, options, access, port, progress)


def _explore(shown: "PictureMap", options: "ExploreOptions", access: "Access", port: int, progress: "Progress") -> None:
    """Open the map in embedding-atlas until a signal ends it."""
    from ..vectors import write_atlas

    with end_on_signal(), TemporaryDirectory(prefix="pnasnet-") as folder:
        write_atlas(Path(folder) / "atlas.parquet", shown, options, access, progress)
        _serve(Path(folder) / "atlas.parquet", port)


def _tell(shown: "PictureMap") -> None:
    if len(shown.pictures) < shown.total:
        click.echo(f"{len(shown.pictures):,} of {shown.total:,} pictures are taken, spread evenly", err=True)
    click.echo(f"projection {shown.projection}", err=True)


def _write_page(
    path: Path,
    features: "Features",
    shown: "PictureMap",
    options: "ExploreOptions",
    access: "Access",
    progress: "Progress",
) -> None:
    from ..support.files import write_text
    from ..support.text import clean, counted
    from ..vectors import map_page

    page = map_page(shown, f"Map of {clean(features.path.name)}", options, access, progress)
    write_text(path, page)
    click.echo(f"{path}: {counted(len(shown.pictures), 'picture')}")


def _serve(table: Path, port: int) -> None:
    """Run embedding-atlas until it ends or is interrupted."""
    from ..vectors import atlas_command

    done = subprocess.run(atlas_command(table, port), check=False)
    if done.returncode:
        raise OutputError(f"embedding-atlas ended with exit code {done.returncode}; its own lines above say why")
