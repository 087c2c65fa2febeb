"""Health and metrics, for operators."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .._version import __version__
from .responses import json_response
from .service import Service


def routes(service: Service) -> list[Route]:
    """Return the routes for operators."""

    async def healthz(request: Request) -> Response:
        state = "draining" if service.draining else "ready"
        content = {"status": state, "models": list(service.models), "version": __version__}
        return json_response(content, 503 if service.draining else 200)

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/healthz", healthz), Route("/metrics", metrics)]
