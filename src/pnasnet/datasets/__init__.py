"""Labelled pictures from where people have them: folders, Parquet, Hugging Face, WebDataset tars, ILSVRC-2012."""

from .labelled import LabelledImages
from .open import open_dataset

__all__ = ["LabelledImages", "open_dataset"]
