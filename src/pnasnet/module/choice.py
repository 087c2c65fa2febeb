"""A model and its engine options as a value, for command lines, settings and other processes."""

import logging
from dataclasses import dataclass

from ..engines import EngineOptions
from ..engines.options import DEFAULTS
from ..support.text import counted, some_of
from .module import Module

log = logging.getLogger(__name__)

_SMALLEST_FOR_PHOTOS = 64
"""Pixels; smaller images show too little of a photo."""


@dataclass(frozen=True)
class ModelChoice:
    """A model for inference, by name: the arguments of `Module` as plain values.

    Example:
        >>> from pnasnet.extract import ModelChoice
        >>> ModelChoice("pnasnet_small").open().image_size
        (64, 64)
    """

    model: str
    weights: str | None = None
    engine: EngineOptions = DEFAULTS
    moving_averages: bool | None = None

    def open(self) -> Module:
        """Open the model. If its images are small, log its size and classes."""
        module = Module(self.model, self.weights, engine=self.engine, moving_averages=self.moving_averages)
        height, width = module.image_size
        if max(height, width) < _SMALLEST_FOR_PHOTOS:
            classes = module.model.spec.num_classes
            names = f" ({some_of(module.labels)})" if module.labels else ""
            knows = f" and knows {counted(classes, 'class', 'classes')}{names}" if classes else ""
            log.info(
                "%s sees images of %sx%s pixels%s: use pnasnet_small or a larger network for photos",
                module.model.name, height, width, knows,
            )  # fmt: skip
        return module
