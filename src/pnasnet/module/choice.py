"""A model and how it runs, as a value for options, settings and other processes."""

from dataclasses import dataclass

from ..engines import EngineOptions
from ..engines.options import DEFAULTS
from .module import Module


@dataclass(frozen=True)
class ModelChoice:
    """A model for inference, by name: the arguments of `Module` as plain values."""

    model: str
    weights: str | None = None
    engine: EngineOptions = DEFAULTS
    moving_averages: bool | None = None

    def open(self) -> Module:
        """Open the model."""
        return Module(self.model, self.weights, engine=self.engine, moving_averages=self.moving_averages)
