"""The pipeline over a labelled data set, whose pictures need not be files."""

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
    """Yield the vectors of one endpoint, a row for each picture, in order; `path` is its name in the data set.

    A picture that cannot be read becomes a row with an error. Raises `UnknownNameError` if there is no such preset.
    """
    columns = columns_for([module], [endpoint], options)
    return extract_columns(range(len(data)), data.read, lambda index: str(data.names[index]), columns, options)
