"""Engines: what runs a network on batches of images. `create` makes one by name."""

from .base import PRECISIONS, Engine, Job, Weights
from .choose import ENGINES, create
from .fake import FakeEngine

__all__ = ["ENGINES", "PRECISIONS", "Engine", "FakeEngine", "Job", "Weights", "create"]
