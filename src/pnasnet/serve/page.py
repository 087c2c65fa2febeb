"""The web page: drop an image to see its classes and similar images."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ..reports.pages import render
from .models import PROBABILITIES
from .service import Service


def routes(service: Service) -> list[Route]:
    """Return the route of the page. It needs no API key: it asks the user for one if the server requires it."""
    gallery = service.gallery
    models = [
        {
            "name": name,
            "classifies": PROBABILITIES in model.outputs,
            "similar": gallery is not None and gallery.model == name,
        }
        for name, model in service.models.items()
    ]
    text = render("serve.html", {"title": "pnasnet", "models": models, "needs_key": service.keys.required})

    async def page(request: Request) -> Response:
        return HTMLResponse(text)

    return [Route("/", page)]
