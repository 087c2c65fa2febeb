"""Opens labelled images: folders, Parquet files, Hugging Face datasets, WebDataset tars and ILSVRC-2012."""

from .labelled import LabelledImages
from .open import open_dataset

__all__ = ["LabelledImages", "open_dataset"]
