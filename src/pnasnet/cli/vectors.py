"""What the commands on vectors share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .errors import end_on_signal
from .progress import rows_bar

if TYPE_CHECKING:
    from ..vectors import Features, VectorIndex


@contextmanager
def opened_index(features: "Features", quiet: bool) -> Iterator["VectorIndex"]:
    """Open the index beside the features, or make one that is gone after the block."""
    from ..vectors import build_index, open_index

    index = open_index(features)
    if index is not None:
        with index:
            yield index
        return
    with end_on_signal(), TemporaryDirectory(prefix="pnasnet-") as folder:
        with rows_bar("index", features.rows, quiet) as advance:
            index = build_index(features, Path(folder), progress=advance)
        with index:
            yield index
