"""From many images to Parquet: the pipeline, and a folder of parts that any run can resume.

sources ─ list_units ─► units ─ feed ─► images ─ extract_columns ─► batches of rows ─ Keeper ─► parts in a folder
"""

from ..module.choice import ModelChoice
from ..pictures import check_sources, find_images, find_named, list_units, read_list
from .classify import Classification, classify
from .columns import Column, ColumnBuilder, columns_for
from .embed import extract, extract_columns, extract_labelled
from .feed import pictures_of
from .folder import FeatureFolder
from .options import ExtractOptions
from .output import extract_to
from .pipeline import Batch, Prepared, Row, Stages, run_pipeline
from .run import Report, Sources
from .thumbnails import Thumbnail, thumbnails

__all__ = [
    "Batch",
    "Classification",
    "Column",
    "ColumnBuilder",
    "ExtractOptions",
    "FeatureFolder",
    "ModelChoice",
    "Prepared",
    "Report",
    "Row",
    "Sources",
    "Stages",
    "Thumbnail",
    "check_sources",
    "classify",
    "columns_for",
    "extract",
    "extract_columns",
    "extract_labelled",
    "extract_to",
    "find_images",
    "find_named",
    "list_units",
    "pictures_of",
    "read_list",
    "run_pipeline",
    "thumbnails",
]
