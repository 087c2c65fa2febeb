"""Runs OpenVINO so that insufficient memory is an error, and extracts causes from its messages."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..support.text import counted
from .base import library_errors

Floats = NDArray[np.float32]
Key = TypeVar("Key", str, int)

_NOT_COMPUTED = np.float32(-3e38)
"""Marks outputs before each batch: OpenVINO 2026.4 reports success if memory is insufficient for a larger batch, and
leaves the outputs of an earlier one in place, also in the next batches."""


def infer(request: Any, images: Floats, outputs: Sequence[Key], *, by_image: bool = True) -> dict[Key, Floats]:
    """Run a batch on an infer request.

    Args:
        request: an `openvino.InferRequest`.
        images: float32 [batch, ...].
        outputs: names of float32 outputs, or their numbers.
        by_image: whether outputs are [batch, ...].

    Returns:
        Copies of the outputs.

    Raises:
        OutOfMemoryError: an output was not computed, or OpenVINO reports too little memory.
        PnasnetError: OpenVINO failed.
    """
    with library_errors("OpenVINO", f"run {counted(len(images), 'image')}", reason):
        for tensor in request.output_tensors:
            tensor.data.reshape(-1)[:1] = _NOT_COMPUTED
        results = request.infer([images])
        found: dict[Key, Floats] = {key: results[key] for key in outputs}
        for value in found.values():
            if value.flat[0] == _NOT_COMPUTED or (by_image and len(value) != len(images)):
                raise MemoryError
    return found


def reason(error: Exception) -> str:
    """Return the cause in OpenVINO's message: the last line that is not a position in its source code."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("Exception from")), str(error))
