"""From images to Parquet files of vectors: the pipeline, and a folder of parts that an interrupted run resumes.

sources ─ list_units ─► units ─ feed ─► images ─ extract_columns ─► batches of rows ─ Keeper ─► parts in a folder
"""

from ..module.choice import ModelChoice
from ..pictures import find_named, list_units
from .classify import Classification, classify
from .columns import Column, columns_for
from .embed import extract
from .feed import pictures_of
from .options import ExtractOptions
from .output import extract_to
from .pipeline import Batch, Row
from .run import Report, Sources

__all__ = [
    "Batch",
    "Classification",
    "Column",
    "ExtractOptions",
    "ModelChoice",
    "Report",
    "Row",
    "Sources",
    "classify",
    "columns_for",
    "extract",
    "extract_to",
    "find_named",
    "list_units",
    "pictures_of",
]
