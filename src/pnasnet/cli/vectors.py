"""The common parts of the commands on vectors."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..support.contexts import contextmanager
from ..support.files import write_text
from .errors import check_file, end_on_signal
from .options import FOLDER
from .printing import say
from .sections import given_options, pass_as, section
from .values import folders, paths

if TYPE_CHECKING:
    from ..support.progress import Progress
    from ..vectors import Features, VectorIndex

column_options = section(
    "Columns",
    click.option("--column", metavar="NAME", help="Column with the vectors, if FEATURES has several."),
    click.option(
        "--path-column", "names", metavar="NAME", help="Column with the paths of the images.  [default: path]"
    ),
)
"""The columns of a table of vectors, as the arguments `column` and `names`."""

PAGE = "Page"

page_options = section(
    PAGE,
    click.option("--html", metavar="FILE", shell_complete=paths,
                 help="Write a page with the images to FILE, replacing it."),
    pass_as(
        "access",
        "pnasnet.pictures:Access",
        click.option(
            "--root", "roots", multiple=True, metavar="DIR", type=FOLDER, shell_complete=folders,
            help="Open images only below DIR. May be repeated.  [default: the folders that FEATURES recorded]"
        ),
        click.option(
            "--allow-url-host", "hosts", multiple=True, metavar="HOST",
            help="Open images at URLs of HOST. May be repeated.  [default: none]"
        )
    )
)  # fmt: skip
"""The page to write, and the images that may be opened for it, as the arguments `html` and `access`."""


def check_page(html: str | None, inputs: Iterable[str]) -> None:
    """Check the file of --html, and that no other option of pages is given without it. Raises `click.UsageError`."""
    for option in given_options(PAGE) if html is None else ():
        raise click.UsageError(f"{option} needs --html: without a page, no image is opened")
    check_file(html, ".html", inputs)


def write_page(html: str, page: str, *, quiet: bool) -> None:
    """Write the page of --html, and report it."""
    write_text(Path(html), page)
    if not quiet:
        say(f"{html}: written", err=True)


@contextmanager
def opened_index(features: "Features", progress: "Progress") -> Iterator["VectorIndex"]:
    """Open the index beside the features, or build one that is removed after the block."""
    from tempfile import TemporaryDirectory

    from ..vectors import build_index, open_index

    index = open_index(features)
    if index is not None:
        with index:
            yield index
        return
    with (
        end_on_signal(),
        TemporaryDirectory(prefix="pnasnet-") as folder,
        build_index(features, Path(folder), progress=progress) as index,
    ):
        yield index
