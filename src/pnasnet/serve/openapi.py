"""The description of the HTTP paths in OpenAPI's format, and a page of it."""

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .._version import __version__
from ..reports.pages import render
from .answers import json_response
from .service import Service

_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        "required": ["image"],
    }
}
_JSON = {"application/json": {"schema": {"type": "object"}}}
_FLOATS = dict.fromkeys(("application/octet-stream", "application/x-npy"), _IMAGE)
_STATUSES = {
    "400": "The request, or each of its images, is wrong; the error says how.",
    "401": "The API key is missing or wrong.",
    "404": "There is no such model or path.",
    "406": "The server has none of the accepted media types.",
    "408": "The body took too long.",
    "413": "The body, or the number of images, is too large.",
    "415": "The server does not read this media type or encoding.",
    "429": "The queue is full; Retry-After says when to try again.",
    "500": "The engine failed on the batch of this request.",
    "503": "The server is shutting down.",
}


def routes(service: Service) -> list[Route]:
    """Return the routes of the description and its page."""

    async def document(request: Request) -> Response:
        return json_response(describe(service))

    async def page(request: Request) -> Response:
        described = describe(service)
        rows = [
            (method.upper(), path, operation["summary"])
            for path, methods in described["paths"].items()
            for method, operation in methods.items()
        ]
        text = render("openapi.html", {"title": "pnasnet serve", "rows": rows, "statuses": _STATUSES})
        return HTMLResponse(text)

    return [Route("/openapi.json", document), Route("/docs", page)]


def describe(service: Service) -> dict[str, Any]:
    """Return the description."""
    paths: dict[str, Any] = {}
    for method, path, operation in _operations(service):
        paths.setdefault(path, {})[method] = operation
    schemes = {"key": {"type": "http", "scheme": "bearer"}}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "pnasnet serve", "version": __version__, "description": "Features and classes of photos."},
        "paths": paths,
        "components": {"securitySchemes": schemes},
    }
    if service.keys.required:
        described["security"] = [{"key": []}]
    return described


def _operations(service: Service) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of each operation."""
    names = list(service.models)
    model = _parameter("model", "query", {"type": "string", "enum": names})
    for path, what, default in (
        ("/embed", "Feature vectors of images.", None),
        ("/classify", "Likeliest classes of images.", 5),
        ("/similar", "Photos most similar to images.", 10),
    ):
        top = [_parameter("top", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": default})]
        body = {"required": True, "content": {"multipart/form-data": _FORM, "image/*": _IMAGE}}
        answer = _JSON if path == "/similar" else _JSON | _FLOATS
        yield "post", path, _operation(what, [model, *(top if default else [])], body, answer)

    name = _parameter("name", "path", {"type": "string", "enum": names})
    version = _parameter("version", "path", {"type": "string", "enum": ["1"]})
    body = {"required": True, "content": _JSON}
    yield "get", "/v2", _operation("Open Inference Protocol: the server.")
    yield "get", "/v2/health/live", _operation("Open Inference Protocol: whether the process is alive.")
    yield "get", "/v2/health/ready", _operation("Open Inference Protocol: whether requests are accepted.")
    yield "get", "/v1/models", _operation("OpenAI: the models.")
    yield "post", "/v1/embeddings", _operation("OpenAI: embeddings of images.", (), body)
    for infix, parameters in (("", [name]), ("/versions/{version}", [name, version])):
        tensors, serving = f"/v2/models/{{name}}{infix}", f"/v1/models/{{name}}{infix}"
        yield "get", tensors, _operation("Open Inference Protocol: inputs and outputs of a model.", parameters)
        yield "get", f"{tensors}/ready", _operation("Open Inference Protocol: whether a model is ready.", parameters)
        yield "post", f"{tensors}/infer", _operation("Open Inference Protocol: run a model.", parameters, body)
        yield "get", serving, _operation("TensorFlow Serving and OpenAI: a model.", parameters)
        yield "get", f"{serving}/metadata", _operation("TensorFlow Serving: signatures of a model.", parameters)
        yield "post", f"{serving}:predict", _operation("TensorFlow Serving: run a signature.", parameters, body)
        yield "post", f"{serving}:classify", _operation("TensorFlow Serving: classes of images.", parameters, body)
    yield "get", "/healthz", _operation("Whether the server is ready, and its models.")
    yield (
        "get",
        "/metrics",
        _operation("Figures for Prometheus.", answer={"text/plain": {"schema": {"type": "string"}}}),
    )


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _operation(
    summary: str,
    parameters: Any = (),
    body: dict[str, Any] | None = None,
    answer: dict[str, Any] = _JSON,
) -> dict[str, Any]:
    errors = {status: {"description": text, "content": _JSON} for status, text in _STATUSES.items()}
    responses = {"200": {"description": "The answer.", "content": answer}, **errors}
    operation = {"summary": summary, "parameters": list(parameters), "responses": responses}
    return operation | ({"requestBody": body} if body else {})
