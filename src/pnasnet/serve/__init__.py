"""Serves image features, classes and similar images to clients of several protocols::

    request ─ middleware (limits, key) ─ a protocol's routes ─┐
    gRPC call ────────────────────────── grpc_v2 ─────────────┴─► Served ─ decoder ─► batcher ─► engine

Each protocol turns its requests into images for a `Served` model, and the model's rows into responses. Decoding,
queueing, batching and refusing are shared.

Example:
    >>> import asyncio
    >>> from pathlib import Path
    >>> from pnasnet.engines import EngineOptions
    >>> from pnasnet.serve import ServerLimits, Service, create_app, open_gallery, open_models
    >>> modules = open_models(["pnasnet_tiny"], EngineOptions())
    >>> gallery = open_gallery("features.parquet", modules)  # for similar images
    >>> service = Service(modules, ServerLimits(images=16), gallery=gallery)
    >>> app = create_app(service)  # for any ASGI server: uvicorn.run(app, port=8000)
    >>> app.url_path_for("classify")
    '/classify'
    >>> async def main():  # without HTTP
    ...     async with service.running():
    ...         return await service.model("pnasnet_tiny").compute([photo], "Predictions", client="me")
    >>> photo = Path("photos/chelsea.jpg").read_bytes()
    >>> int(asyncio.run(main())[0].argmax())  # a cat
    3
    >>> service.drain()  # refuses new images, as a server that ends
    >>> service.draining, service.accepted
    (True, 0)
    >>> service.limits.check_images(17)
    Traceback (most recent call last):
        ...
    pnasnet.serve.errors.ServeError: the request has 17 images: send at most 16 at a time
"""

from ..errors import MissingExtraError

try:
    import grpc  # noqa: F401
    import prometheus_client  # noqa: F401
    import python_multipart  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError.of(error.name or "a package", "serve", "pnasnet serve") from error

from .app import create_app
from .limits import ServerLimits
from .models import open_models
from .service import Service
from .similar import open_gallery

__all__ = ["ServerLimits", "Service", "create_app", "open_gallery", "open_models"]
