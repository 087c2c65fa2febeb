"""From many pictures to a Parquet file of vectors: what is taken, the pipeline, and the file.

sources ─ find_images ─► paths ─ extract ─► batches of rows ─ ParquetSink ─► features.parquet
"""

from .classify import Classification, classify
from .embed import ExtractOptions, Report, extract, extract_to_parquet, metadata
from .labelled import extract_labelled
from .pipeline import Batch, Row, run_pipeline
from .sink import ParquetSink
from .sources import find_images

__all__ = [
    "Batch",
    "Classification",
    "ExtractOptions",
    "ParquetSink",
    "Report",
    "Row",
    "classify",
    "extract",
    "extract_labelled",
    "extract_to_parquet",
    "find_images",
    "metadata",
    "run_pipeline",
]
