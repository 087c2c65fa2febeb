"""An engine for tests, without a network: fast, with different outputs for different images."""

from collections.abc import Callable

import numpy as np

from .base import Engine, Floats, Job


class FakeEngine(Engine):
    """Fills every output with repetitions of the image's mean colour, or with the results of a function.

    `function` receives the images and returns the outputs. The job's weights are not read.

    Example:
        >>> from pnasnet import Module
        >>> Module("pnasnet_tiny", engine="fake").embed(["photos/coffee.jpg"]).shape
        (1, 960)
    """

    name = "fake"

    def __init__(self, job: Job, function: Callable[[Floats], dict[str, Floats]] | None = None) -> None:
        super().__init__(job)
        self.description = "fake engine: mean colours instead of features"
        self._function = function or self._colours

    def _run(self, images: Floats) -> dict[str, Floats]:
        return self._function(images)

    def _colours(self, images: Floats) -> dict[str, Floats]:
        means = images.mean((1, 2))
        return {
            name: np.stack([np.resize(mean, shape) for mean in means]).astype(np.float32)
            for name, shape in self._output_shapes.items()
        }
