"""Transfer learning: a classifier of one's own pictures from a network's features, and the network tuned to them.

pictures ─ split ─ features (once) ─ classifier ─ [whole network] ─► a folder that is a model, with card and report
"""

from ..training.folder import MODEL
from .options import FinetuneOptions
from .outcome import Outcome
from .progress import Listener
from .run import finetune

__all__ = ["MODEL", "FinetuneOptions", "Listener", "Outcome", "finetune"]
