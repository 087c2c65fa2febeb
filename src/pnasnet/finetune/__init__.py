"""Transfer learning: train a classifier of your own classes on a network's features, then optionally the whole network.

images ─ split ─ features (once) ─ classifier ─ [whole network] ─► a folder that is a model, with card and report

Example:
    >>> from pathlib import Path
    >>> from pnasnet import Module
    >>> from pnasnet.datasets import open_dataset
    >>> from pnasnet.finetune import MODEL, finetune
    >>> result = finetune("pnasnet_tiny", open_dataset("animals"), "model", overwrite=True)
    >>> Module(Path("model", MODEL)).labels
    ('bird', 'cat', 'frog')
"""

from ..training.folder import MODEL
from .folder import FinishedError
from .options import FinetuneOptions
from .result import FinetuneResult
from .run import finetune

__all__ = ["MODEL", "FinetuneOptions", "FinetuneResult", "FinishedError", "finetune"]
