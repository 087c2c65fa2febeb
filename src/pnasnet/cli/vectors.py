"""What the commands on vectors share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from .errors import end_on_signal
from .sections import section

if TYPE_CHECKING:
    from ..support.progress import Progress
    from ..vectors import Features, VectorIndex

columns = section(
    "Columns",
    click.option("--column", metavar="NAME", help="Column with the vectors, if FEATURES has several."),
    click.option(
        "--path-column", "names", metavar="NAME", help="Column with the paths of the photos.  [default: path]"
    ),
)
"""Options of every command that opens a table of vectors: `column` and `names`."""

_PHOTOS = section(
    "Photos of a page",
    click.option(
        "--root", "roots", multiple=True, metavar="FOLDER",
        help="Open photos below FOLDER only, wherever FEATURES recorded them; may be repeated. "
        " [default: the folders that the run read, as its report says]",
    ),
    click.option(
        "--allow-url-host", "hosts", multiple=True, metavar="HOST",
        help="Open photos at URLs of HOST; may be repeated.  [default: none]",
    ),
)  # fmt: skip


def photos(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which photos its pages may open, as its argument `access`."""

    @wraps(command)
    def bundled(roots: tuple[str, ...], hosts: tuple[str, ...], **arguments: Any) -> None:
        from ..pictures import Access

        command(access=Access(roots, hosts), **arguments)

    return _PHOTOS(bundled)


@contextmanager
def opened_index(features: "Features", progress: "Progress") -> Iterator["VectorIndex"]:
    """Open the index beside the features, or build one that is removed after the block."""
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
