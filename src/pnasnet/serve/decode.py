"""Decodes images to network inputs in threads, before they are queued for the engine."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError
from ..images import Limits as ImageLimits
from ..images import load
from ..support.system import processors

_UNNAMED = "image bytes: "
_HINTS = (", or raise Limits.pixels", ", or raise Limits.bytes")


class Decoder:
    """Decodes images in a pool of threads that all models share."""

    def __init__(self, most_pixels: int, most_bytes: int, threads: int | None = None) -> None:
        self._limits = ImageLimits(most_pixels, most_bytes)
        self._pool = ThreadPoolExecutor(threads or processors(), "decode")

    async def decode(self, data: bytes, size: tuple[int, int], preset: str) -> NDArray[np.float32]:
        """Return an encoded image as network input, float32 [*size, 3] in [0, 1].

        Raises `ImageError`, whose message does not name the image.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._decode, data, size, preset)

    def _decode(self, data: bytes, size: tuple[int, int], preset: str) -> NDArray[np.float32]:
        try:
            return load(data, size, preset, limits=self._limits).image
        except ImageError as error:
            reason = str(error).removeprefix(_UNNAMED)
            for hint in _HINTS:  # for users of the library; clients cannot follow them
                reason = reason.removesuffix(hint)
            raise ImageError(reason) from error

    def close(self) -> None:
        """Finish the images being decoded, and drop the queued ones."""
        self._pool.shutdown(cancel_futures=True)
