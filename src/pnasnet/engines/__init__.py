"""Engines run a network on batches of images; `create` makes one."""

from .base import Engine, Job, Weights
from .choose import create
from .fake import FakeEngine
from .options import ENGINES, PRECISIONS, EngineOptions

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineOptions", "FakeEngine", "Job", "Weights", "create"]
