"""`pnasnet explore`."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MissingExtraError
from ..support.files import write_text
from ..support.paths import with_last_name
from ..support.text import clean, counted
from .errors import check_file, end_on_signal
from .logs import show_logs
from .numbers import Whole
from .options import QUIET, count
from .printing import say
from .progress import bars
from .sections import command, given_options, pass_as, section
from .values import PROJECTIONS, one_of, paths
from .vectors import column_options, opened_index, page_options

if TYPE_CHECKING:
    from ..pictures import Access
    from ..support.progress import Progress
    from ..vectors import ExploreOptions, PictureMap

_ATLAS = "embedding-atlas"


@command()
@click.argument("features", shell_complete=paths)
@QUIET
@section(
    "Map",
    pass_as(
        "options",
        "pnasnet.vectors:ExploreOptions",
        count(
            "--points",
            help="Show N images, spread evenly.  [default: all; 50000 with --html]",
        ),
        click.option(
            "--projection",
            metavar="NAME",
            shell_complete=one_of(*PROJECTIONS),
            help="pca or umap.  [default: umap if installed]",
        ),
        count("--neighbours", help="Nearest neighbours of each image.  [default: 15]"),
        count("--thumbnail", help="Size of thumbnails in pixels, 8 to 512.  [default: 96]"),
    ),
)
@section(
    _ATLAS,
    click.option(
        "--table",
        metavar="FILE",
        shell_complete=paths,
        help="Write the table for embedding-atlas to FILE, replacing it.",
    ),
    click.option(
        "--port",
        type=Whole(1, 65535),
        default=5055,
        show_default=True,
        metavar="N",
        help="Port on which embedding-atlas shows the map.",
    ),
)
@page_options
@column_options
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
    """Show images on a map, similar ones close together.

    FEATURES is a Parquet file or a folder of part-*.parquet, as written by `pnasnet embed`, or any table with a column
    of vectors. --html writes a page that needs only a browser. Without --html or --table, the map opens in Apple's
    embedding-atlas on a port of this machine, without network access, until Ctrl-C. Images that cannot be opened are
    counted.

    \b
      pnasnet explore features.parquet --html map.html
      pnasnet explore features.parquet
      pnasnet explore features/ --points 20000 --projection umap --html map.html
    """
    from ..vectors import PAGE_POINTS, make_map, map_page, open_features, write_atlas

    if not html and not table:
        _check_atlas(port)
    _check_files(features, html, table)
    show_logs(quiet=quiet)
    opened = open_features(features, column, names)
    if html:
        options = replace(options, points=min(options.points or PAGE_POINTS, PAGE_POINTS))
    with bars(quiet) as progress:
        with opened_index(opened, progress) as index:
            shown = make_map(index, options, progress)
        pictures = counted(len(shown.pictures), "image")
        if not quiet:
            if len(shown.pictures) < shown.total:
                say(f"{len(shown.pictures):,} of {shown.total:,} images are shown, spread evenly", err=True)
            say(f"projection {shown.projection}", err=True)
        if html:
            title = f"Map of {clean(with_last_name(opened.path).name)}"
            write_text(Path(html), map_page(shown, title, options, access, progress))
            say(f"{html}: {pictures}")
        if table:
            write_atlas(Path(table), shown, options, access, progress)
            say(f"{table}: {pictures}")
        if not html and not table:
            _show_atlas(shown, options, access, port, progress, quiet=quiet)


def _check_files(features: str, html: str | None, table: str | None) -> None:
    if (html or table) and "--port" in given_options(_ATLAS):
        raise click.UsageError("--port is for the explorer: leave it out, or leave out --html and --table")
    check_file(html, ".html", (features,))
    check_file(table, ".parquet", (features,))


def _check_atlas(port: int) -> None:
    from ..vectors.atlas import check_port

    if importlib.util.find_spec("embedding_atlas") is None:
        raise MissingExtraError.of("embedding-atlas", "explore", "the explorer (without --html or --table)")
    check_port(port)


def _show_atlas(
    shown: "PictureMap", options: "ExploreOptions", access: "Access", port: int, progress: "Progress", *, quiet: bool
) -> None:
    """Show the map in embedding-atlas until it ends or is interrupted."""
    from tempfile import TemporaryDirectory

    from ..vectors import write_atlas
    from ..vectors.atlas import serve_atlas

    with end_on_signal(), TemporaryDirectory(prefix="pnasnet-") as folder:
        table = Path(folder) / "atlas.parquet"
        write_atlas(table, shown, options, access, progress)
        if not quiet:
            say("waiting for embedding-atlas, which first loads PyTorch; this may take a minute", err=True)
        with serve_atlas(table, port) as server:
            server.wait_until_ready()
            say(f"{server.address}: {counted(len(shown.pictures), 'image')}; Ctrl-C ends it")
            server.wait()
