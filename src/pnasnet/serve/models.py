"""The served models, and the computation of their rows from images, which all protocols share."""

import asyncio
import logging
import re
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..engines import EngineOptions
from ..errors import ImageError, InputError
from ..module import Module
from ..module.choice import ModelChoice
from ..module.open import is_path
from ..support.arguments import checked
from ..support.text import clean
from .batcher import Batcher, Floats
from .decode import Decoder
from .errors import EngineError
from .limits import ServerLimits
from .metrics import Metrics
from .tracing import Tracing

T = TypeVar("T")

log = logging.getLogger(__name__)

VERSION = "1"
"""The version of every model, for protocols with versions."""
FEATURES, LOGITS, PROBABILITIES = "global_pool", "Logits", "Predictions"

Image = bytes | Floats
"""An encoded image, or a checked network input, float32 [height, width, 3] in [0, 1]."""
Outcome = Floats | ImageError
"""The row of an endpoint for an image, or the error if the image cannot be decoded."""

_SMALL_NETWORK = 200_000_000
"""Multiply-adds per image below which batches are larger: one of 32 of pnasnet_tiny (57 million) needs 17 % less
processor time per image than one of 8. Between it and pnasnet_mobile (587 million) nothing was measured."""


def default_batch_size(mult_adds: int) -> int:
    """Return the limit of the images per call of the engine, for a network of `mult_adds` multiply-adds per image.

    Other clients wait for a batch of a larger network for longer, so it stays small.
    """
    return 32 if mult_adds < _SMALL_NETWORK else 8


class Served:
    """A model that is served.

    Attributes:
        name: its name in URLs and requests.
        module: the model.
        outputs: the shape of one row of each served endpoint.
        batcher: runs images in batches.
    """

    def __init__(
        self,
        name: str,
        module: Module,
        decoder: Decoder,
        limits: ServerLimits,
        metrics: Metrics,
        tracing: Tracing,
        batch_size: int | None,
    ) -> None:
        self.name, self.module, self._decoder, self._limits = name, module, decoder, limits
        self._tracing = tracing
        self._metrics = metrics.of(name)
        plan = module.model.plan
        endpoints = plan.endpoints()
        names = (FEATURES, LOGITS, PROBABILITIES) if module.model.spec.num_classes else (FEATURES,)
        self.outputs = {endpoint: tuple(endpoints[endpoint]) for endpoint in names}
        height, width = module.image_size
        self.batcher = Batcher(
            self._run,
            height * width * 3 * 4,
            batch_size=default_batch_size(plan.mult_adds) if batch_size is None else batch_size,
            most_images=limits.queue,
            most_bytes=limits.queue_bytes,
            observe=self._metrics.batch,
            waited=tracing.waited,
        )
        self._metrics.watch_queue(lambda: self.batcher.accepted)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits; empty without a classifier."""
        classes = self.module.model.spec.num_classes or 0
        return tuple(map(clean, self.module.labels or (f"class {i}" for i in range(classes))))

    @property
    def signatures(self) -> dict[str, str]:
        """The endpoint of each of the module's signatures, by name."""
        default = self.module.model.default_signature or "image_feature_vector"
        names = {name: default if name == "default" else name for name in self.module.get_signature_names()}
        return {name: LOGITS if kind == "image_classification" else FEATURES for name, kind in names.items()}

    def load(self) -> None:
        """Create the engines for features and probabilities, so that no request waits for them."""
        for endpoint in (FEATURES, PROBABILITIES):
            if endpoint in self.outputs:
                self.module.engine_for((endpoint,))

    async def compute(self, images: Sequence[Image], endpoint: str, client: str) -> list[Outcome]:
        """Return the rows of an endpoint for several images, in order; an `ImageError` in place of those that fail.

        Args:
            images: encoded images and network inputs.
            endpoint: one of `outputs`.
            client: identifies the client; clients take turns.

        Raises:
            ServeError: no images, or too many. BusyError: the queue is full. DrainingError: the server is shutting
                down. EngineError: the engine failed.
        """
        results = await self._each(images, (endpoint,), client)
        return [result if isinstance(result, ImageError) else result[0] for result in results]

    async def arrays(
        self, images: Sequence[Image], endpoints: Sequence[str], client: str
    ) -> dict[str, NDArray[np.float32]]:
        """Return endpoints as arrays, float32 [number of images, ...], for protocols without errors of single images.

        Raises `ImageError` with the number of the first image that cannot be decoded, and the errors of `compute`.
        """
        results = await self._each(images, endpoints, client)
        rows = [result for number, result in enumerate(results, 1) if _decoded(result, number, len(results))]
        return {endpoint: np.stack([row[i] for row in rows]) for i, endpoint in enumerate(endpoints)}

    async def _each(
        self, images: Sequence[Image], endpoints: Sequence[str], client: str
    ) -> list[list[Floats] | ImageError]:
        """Return the endpoints of each image, or the error of decoding it; all images are accepted, or none."""
        self._limits.check_images(len(images))
        with self._metrics.request(), self.batcher.reserve(len(images)):
            results = await _settled([self._one(image, endpoints, client) for image in images])
        rows = list[list[Floats] | ImageError]()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, ImageError):
                raise result
            rows.append(result)
        return rows

    async def _one(self, image: Image, endpoints: Sequence[str], client: str) -> list[Floats]:
        if isinstance(image, bytes):
            with self._metrics.decoding(), self._tracing.span("decode"):
                image = await self._decoder.decode(image, self.module.image_size, self.module.preset)
        return [await self.batcher.submit(image, endpoint, client) for endpoint in endpoints]

    def _run(self, images: Floats, endpoint: str) -> Floats:
        with self._metrics.running():
            rows = self.module.run(images, (endpoint,))[endpoint]
        if not np.isfinite(rows).all():
            raise EngineError("its results are not finite numbers")
        return rows


async def _settled(works: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """Return the result or the error of each coroutine. A single one runs without a task of its own."""
    if len(works) > 1:
        return await asyncio.gather(*works, return_exceptions=True)
    try:
        return [await works[0]]
    except Exception as error:
        return [error]


def _decoded(result: list[Floats] | ImageError, number: int, count: int) -> TypeGuard[list[Floats]]:
    """Return True for rows; raise the `ImageError` of an image, with its number."""
    if isinstance(result, ImageError):
        raise ImageError(f"image {number} of {count}: {result}")
    return True


@checked
def open_models(names: Sequence[str], engine: EngineOptions) -> dict[str, Module]:
    """Open models; return them by the names under which they are served.

    A published model keeps its name. A file or folder is served under its own name, in which characters other than
    letters, digits, `_`, `.` and `-` are replaced by `_`. Raises `InputError` if two models have the same name, and the
    errors of `Module`.
    """
    opened, sources = dict[str, Module](), dict[str, str]()
    for name in names:
        module = ModelChoice(name, engine=engine).open()
        public = re.sub(r"[^A-Za-z0-9_.-]", "_", _file_name(name) or module.model.name)
        if public in opened:
            raise _same_name(sources[public], name, public)
        opened[public], sources[public] = module, name
    return opened


def _same_name(first: str, second: str, public: str) -> InputError:
    """Return the error for two models that would be served under one name."""
    if first == second:
        return InputError(f"the model {first} is named twice: name it once")
    return InputError(f"{first} and {second} would both be served as {public}: rename one of them, or serve only one")


def _file_name(name: str) -> str:
    """Return the name of a file without its suffix, or of a folder; empty if it is neither."""
    if not is_path(name):
        return ""
    path = Path(name).absolute()
    return path.stem if path.is_file() else path.name
