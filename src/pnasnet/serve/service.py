"""A service: the models, limits, keys and metrics that all protocols of one server share."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..module import Module
from .auth import ApiKeys
from .decode import Decoder
from .errors import ServeError, unknown_model
from .limits import ServerLimits
from .metrics import Metrics
from .models import VERSION, Served
from .references import References
from .tracing import Tracing

if TYPE_CHECKING:
    from .similar import Gallery


class Service:
    """The served models with their limits, keys and metrics.

    Attributes:
        models: the models by name; the first is the default.
        references: fetches the images that requests refer to.
        gallery: the features that are searched for similar images; None for none.
    """

    def __init__(
        self,
        modules: Mapping[str, Module],
        limits: ServerLimits | None = None,
        *,
        batch_size: int | None = None,
        keys: ApiKeys | None = None,
        gallery: "Gallery | None" = None,
        url_hosts: Collection[str] = (),
        tracer_provider: Any | None = None,
    ) -> None:
        """Prepare the models.

        Args:
            modules: the models by name; the first is the default.
            limits: the limits of requests and queues.
            batch_size: limit of the images per call of an engine; by default 8, or 32 for a small network.
            keys: API keys, of which each request needs one; none by default.
            gallery: the features to search for similar images.
            url_hosts: hosts from which images may be fetched by URL.
            tracer_provider: OpenTelemetry's tracer provider; by default that of this process, if it is set up.

        Raises:
            InputError: there are no models, or `batch_size` is not a whole number from 1 up.
        """
        if not modules:
            raise InputError("there is no model to serve: name at least one")
        self.limits, self.keys, self.gallery = limits or ServerLimits(), keys or ApiKeys(()), gallery
        self.metrics, self.references = Metrics(), References(self.limits, url_hosts)
        self.tracing = Tracing(tracer_provider)
        self._decoder = Decoder(self.limits.pixels, self.limits.body)
        self.models = {
            name: Served(name, module, self._decoder, self.limits, self.metrics, self.tracing, batch_size)
            for name, module in modules.items()
        }

    @property
    def draining(self) -> bool:
        """Whether new images are refused."""
        return any(model.batcher.draining for model in self.models.values())

    def drain(self) -> None:
        """Refuse new images from now on; accepted ones are still answered."""
        for model in self.models.values():
            model.batcher.draining = True

    @property
    def accepted(self) -> int:
        """Number of images that are accepted and not answered."""
        return sum(model.batcher.accepted for model in self.models.values())

    def model(self, name: str | None = None, version: str | None = None) -> Served:
        """Return a model by name, or the default. Raises `ServeError` (404) for an unknown model or version."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise unknown_model(name, list(self.models))
        if version not in (None, "", VERSION):
            raise ServeError(f"{name} has no version {version!r}: the only one is {VERSION}", 404)
        return self.models[name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the engines, and run the batchers until the end of the block."""
        for model in self.models.values():
            await asyncio.to_thread(model.load)
        workers = [asyncio.create_task(model.batcher.work()) for model in self.models.values()]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            for worker in workers:
                with suppress(asyncio.CancelledError):
                    await worker
            self._decoder.close()
            self.references.close()
            if self.gallery is not None:
                self.gallery.close()
