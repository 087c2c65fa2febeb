"""A server of image features, classes and similar photos, for the clients that people have.

    request ─ middleware (limits, key) ─ a protocol's routes ─┐
    gRPC call ────────────────────────── grpc_v2 ─────────────┴─► Served ─ decoder ─► batcher ─► engine

Every protocol turns its requests into photos for a `Served` model and its rows into answers; decoding, queueing,
batching and refusing are the same for all of them.
"""

from .app import create_app
from .limits import Limits
from .models import Served, open_models
from .service import Service
from .similar import open_gallery

__all__ = ["Limits", "Served", "Service", "create_app", "open_gallery", "open_models"]
