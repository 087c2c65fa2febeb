"""Transfer learning: train a classifier of your own classes on a network's features, then the whole network.

images ─ split ─ features (once) ─ classifier ─ [whole network] ─► a folder that is a model, with card and report
"""

from ..training.folder import MODEL
from .folder import FinishedError
from .options import FinetuneOptions
from .result import FinetuneResult
from .run import finetune

__all__ = ["MODEL", "FinetuneOptions", "FinetuneResult", "FinishedError", "finetune"]
