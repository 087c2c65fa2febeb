"""Everything that the protocols of one server share."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

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
    """The served models, with what limits and measures them.

    Attributes:
        models: by name; the first is the default.
        references: fetches images that requests refer to.
        gallery: features among which similar images are found; None for none.
    """

    def __init__(
        self,
        modules: Mapping[str, Module],
        limits: ServerLimits | None = None,
        *,
        batch_size: int = 8,
        keys: ApiKeys | None = None,
        gallery: "Gallery | None" = None,
        url_hosts: Collection[str] = (),
        tracer_provider: Any | None = None,
    ) -> None:
        """Prepare the models.

        Args:
            modules: the models by name; the first is the default.
            limits: what the server accepts.
            batch_size: most images per call of an engine.
            keys: API keys, one of which a request needs; none by default.
            gallery: features among which similar images are found.
            url_hosts: hosts from which images may be fetched by URL.
            tracer_provider: of OpenTelemetry; by default, the one of this process, if it is set up.
        """
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
        """Refuse new images from now on; accepted ones are answered."""
        for model in self.models.values():
            model.batcher.draining = True

    @property
    def accepted(self) -> int:
        """The number of images accepted and not answered yet."""
        return sum(model.batcher.accepted for model in self.models.values())

    def model(self, name: str | None = None, version: str | None = None) -> Served:
        """Return a model by name, or the first. Raises `ServeError` (404) if it is not served."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise unknown_model(name, list(self.models))
        if version not in (None, "", VERSION):
            raise ServeError(f"{name} has no version {version!r}: the only one is {VERSION}", 404)
        return self.models[name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the engines; within the block, compute requests."""
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
