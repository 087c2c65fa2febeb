"""The served models: names, inputs and outputs, and the computation of rows from images, which all protocols share."""

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
"""The version of every model; protocols with versions ask for one."""
FEATURES, LOGITS, PROBABILITIES = "global_pool", "Logits", "Predictions"

Image = bytes | Floats
"""An encoded image, or a checked network input [height, width, 3]."""
Outcome = Floats | ImageError
"""The values of an endpoint for an image, or the error if the image cannot be decoded."""


class Served:
    """A model that is served.

    Attributes:
        name: in URLs and requests.
        module: the model.
        outputs: shape of a row of each endpoint that is served.
    """

    def __init__(
        self,
        name: str,
        module: Module,
        decoder: Decoder,
        limits: ServerLimits,
        metrics: Metrics,
        tracing: Tracing,
        batch_size: int,
    ) -> None:
        self.name, self.module, self._decoder, self._limits = name, module, decoder, limits
        self._tracing = tracing
        self._metrics = metrics.of(name)
        endpoints = module.model.plan.endpoints()
        names = (FEATURES, LOGITS, PROBABILITIES) if module.model.spec.num_classes else (FEATURES,)
        self.outputs = {endpoint: tuple(endpoints[endpoint]) for endpoint in names}
        height, width = module.image_size
        self.batcher = Batcher(
            self._run,
            height * width * 3 * 4,
            batch_size=batch_size,
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
        """Create the engines of features and probabilities, so that no request waits for them."""
        for endpoint in (FEATURES, PROBABILITIES):
            if endpoint in self.outputs:
                self.module.engine_for((endpoint,))

    async def compute(self, pictures: Sequence[Image], endpoint: str, client: str) -> list[Outcome]:
        """Return an endpoint of several images, in order; an image that cannot be decoded has an `ImageError`.

        Args:
            pictures: encoded images and network inputs.
            endpoint: one of `outputs`.
            client: whose request it is; clients take turns.

        Raises:
            ServeError: no or too many images. BusyError: the queue is full. EngineError: the engine failed.
        """
        results = await self._each(pictures, (endpoint,), client)
        return [result if isinstance(result, ImageError) else result[0] for result in results]

    async def arrays(
        self, pictures: Sequence[Image], endpoints: Sequence[str], client: str
    ) -> dict[str, NDArray[np.float32]]:
        """Return endpoints as arrays [number of images, ...], for protocols without errors of single images.

        Raises `ImageError` naming the first image that cannot be decoded; the errors of `compute`.
        """
        results = await self._each(pictures, endpoints, client)
        rows = [result for number, result in enumerate(results, 1) if _decoded(result, number, len(results))]
        return {endpoint: np.stack([row[i] for row in rows]) for i, endpoint in enumerate(endpoints)}

    async def _each(
        self, pictures: Sequence[Image], endpoints: Sequence[str], client: str
    ) -> list[list[Floats] | ImageError]:
        """Return the endpoints of each image, or why it cannot be decoded; all images are accepted, or none."""
        self._limits.check_images(len(pictures))
        with self._metrics.request(), self.batcher.reserve(len(pictures)):
            results = await _settled([self._one(picture, endpoints, client) for picture in pictures])
        rows = list[list[Floats] | ImageError]()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, ImageError):
                raise result
            rows.append(result)
        return rows

    async def _one(self, picture: Image, endpoints: Sequence[str], client: str) -> list[Floats]:
        if isinstance(picture, bytes):
            with self._metrics.decoding(), self._tracing.span("decode"):
                picture = await self._decoder.decode(picture, self.module.image_size, self.module.preset)
        return [await self.batcher.submit(picture, endpoint, client) for endpoint in endpoints]

    def _run(self, images: Floats, endpoint: str) -> Floats:
        with self._metrics.running():
            rows = self.module.run(images, (endpoint,))[endpoint]
        if not np.isfinite(rows).all():
            raise EngineError("its results are not finite numbers")
        return rows


async def _settled(works: Sequence[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """Return the results of all, or their errors; one alone needs no task of its own."""
    if len(works) > 1:
        return await asyncio.gather(*works, return_exceptions=True)
    try:
        return [await works[0]]
    except Exception as error:
        return [error]


def _decoded(result: list[Floats] | ImageError, number: int, count: int) -> TypeGuard[list[Floats]]:
    """Raise the error of an image, with its number."""
    if isinstance(result, ImageError):
        raise ImageError(f"image {number} of {count}: {result}")
    return True


@checked
def open_models(names: Sequence[str], engine: EngineOptions) -> dict[str, Module]:
    """Open models, by the names under which they are served.

    A published model keeps its name; a file or folder is served under its own, with other characters than letters,
    digits, `_`, `.` and `-` replaced. Raises `InputError` if two have the same; see `Module` for other errors.
    """
    opened, sources = dict[str, Module](), dict[str, str]()
    for name in names:
        module = ModelChoice(name, engine=engine).open()
        shown = re.sub(r"[^A-Za-z0-9_.-]", "_", _file_name(name) or module.model.name)
        if shown in opened:
            raise InputError(_same(sources[shown], name, shown))
        opened[shown], sources[shown] = module, name
    return opened


def _same(first: str, second: str, shown: str) -> str:
    """Return the error for two models that would be served under one name."""
    if first == second:
        return f"the model {first} is named twice: name it once"
    return f"{first} and {second} would both be served as {shown}: rename one of them, or serve one of them"


def _file_name(name: str) -> str:
    """Return the name of a file without its suffix, or of a folder; empty if it is neither."""
    if not is_path(name):
        return ""
    path = Path(name).absolute()
    return path.stem if path.is_file() else path.name
