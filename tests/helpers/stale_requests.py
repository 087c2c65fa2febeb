"""OpenVINO's infer requests as they are if memory is insufficient."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Stale:
    """A request that reports success for larger batches than `most`, but leaves its outputs as they were."""

    def __init__(self, request: Any, most: int) -> None:
        self.request, self.most, self.results = request, most, dict[str | int, NDArray[np.float32]]()

    @property
    def output_tensors(self) -> list[Any]:
        return [SimpleNamespace(data=value) for key, value in self.results.items() if isinstance(key, int)]

    def infer(self, inputs: list[NDArray[np.float32]]) -> dict[str | int, NDArray[np.float32]]:
        if len(inputs[0]) <= self.most:
            self.results = {}
            for place, (output, value) in enumerate(self.request.infer(inputs).items()):
                self.results |= dict.fromkeys([place, *output.get_names()], value.copy())
        return {key: value.copy() for key, value in self.results.items()}
