"""Labelled pictures through a network: the pipeline over a data set, whose pictures need not be files."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from ..datasets import LabelledImages
from .columns import columns_for
from .embed import extract_columns
from .options import DEFAULTS, ExtractOptions
from .pipeline import Batch

if TYPE_CHECKING:
    from ..module.module import Module


def extract_labelled(
    module: "Module", data: LabelledImages, endpoint: str, options: ExtractOptions = DEFAULTS
) -> Generator[Batch, None, None]:
    """Yield an endpoint's vectors of all pictures, in order, a row for each; the rows' paths are the pictures' names.

    Raises `UnknownNameError` where there is no such preset; a picture that cannot be read only fails its own row.
    """
    columns = columns_for([module], [endpoint], options)
    return extract_columns(range(len(data)), data.read, lambda index: str(data.names[index]), columns, options)
