"""Engines, which run a network on batches of images; `create` returns one.

Example:
    >>> from pnasnet.engines import ENGINES, PRECISIONS
    >>> ENGINES, PRECISIONS
    (('auto', 'openvino', 'torch', 'fake'), ('float32', 'bfloat16', 'float16', 'int8'))
"""

from .base import Engine, Job, Weights
from .choose import create
from .fake import FakeEngine
from .options import ENGINES, PRECISIONS, EngineOptions

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineOptions", "FakeEngine", "Job", "Weights", "create"]
