"""Serves image features, classes and similar images to clients of several protocols.

    request ─ middleware (limits, key) ─ a protocol's routes ─┐
    gRPC call ────────────────────────── grpc_v2 ─────────────┴─► Served ─ decoder ─► batcher ─► engine

Every protocol turns its requests into images for a `Served` model and its rows into answers; decoding, queueing,
batching and refusing are the same for all of them.
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
from .models import Served, open_models
from .service import Service
from .similar import open_gallery

__all__ = ["Served", "ServerLimits", "Service", "create_app", "open_gallery", "open_models"]
