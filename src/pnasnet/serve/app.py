"""The ASGI application: all protocols over HTTP, for uvicorn or any other server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from ..errors import PnasnetError
from ..support.arguments import checked
from . import kserve_http, native, openai, openapi, operations, page, tf_serving
from .middleware import Guard
from .responses import on_error
from .service import Service
from .tracing import Traced

_PROTOCOLS = (native, kserve_http, openai, tf_serving, operations, openapi, page)


@checked
def create_app(service: Service, *, allow_origins: Sequence[str] = ()) -> Starlette:
    """Return the application of a service; its lifespan runs the service.

    Args:
        service: the models with their limits, keys and metrics.
        allow_origins: origins whose web pages may call the server (CORS).
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    middleware = [Middleware(Guard, limits=service.limits, keys=service.keys, metrics=service.metrics)]
    if allow_origins:
        cors = Middleware(CORSMiddleware, allow_origins=allow_origins, allow_methods=["*"], allow_headers=["*"])
        middleware.insert(0, cors)
    if service.tracing.on:
        middleware.insert(0, Middleware(Traced, tracing=service.tracing))
    return Starlette(
        routes=[route for protocol in _PROTOCOLS for route in protocol.routes(service)],
        middleware=middleware,
        exception_handlers={PnasnetError: on_error, HTTPException: on_error, Exception: on_error},
        lifespan=lifespan,
    )
