"""The OpenAPI description of all HTTP paths, and a page that lists them."""

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .._version import __version__
from ..reports.pages import render
from .middleware import OPEN_PATHS
from .models import VERSION
from .responses import json_response
from .schemas import SCHEMAS, refer
from .service import Service

_IMAGE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}},
        "required": ["image"],
    }
}
_FLOATS = dict.fromkeys(("application/octet-stream", "application/x-npy"), _IMAGE)
_BINARY_TENSORS = {"application/octet-stream": _IMAGE}
_STATUSES = {
    "400": "The request, or each of its images, is invalid; the error gives the reason.",
    "401": "The API key is missing or wrong.",
    "404": "There is no such model or path.",
    "406": "The server has no format that the request accepts.",
    "408": "The body was not complete in time.",
    "413": "The body, or the number of images, is too large.",
    "415": "The media type or encoding is not supported.",
    "429": "The queue is full; try again after the seconds in Retry-After.",
    "500": "The engine failed on the batch of this request.",
    "503": "The server is shutting down; try another one.",
}
_ON_ANY_PATH = ("400", "401", "408", "413", "415", "429")
"""Statuses of errors that any path can have, because of the key or the body."""
_ON_IMAGES = (*_ON_ANY_PATH, "404", "500", "503")

Content = dict[str, Any]
Operations = Iterator[tuple[str, str, dict[str, Any]]]


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
    """Return the OpenAPI description of a service."""
    paths: dict[str, Any] = {}
    for method, path, operation in _operations(service):
        paths.setdefault(path, {})[method] = operation
    schemes = {"key": {"type": "http", "scheme": "bearer"}}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "pnasnet serve", "version": __version__, "description": "Features and classes of images."},
        "paths": paths,
        "components": {"securitySchemes": schemes, "schemas": _schemas(next(iter(service.models)))},
    }
    if service.keys.required:
        described["security"] = [{"key": []}]
        for path in OPEN_PATHS & paths.keys():
            paths[path]["get"]["security"] = []
    return described


def _schemas(model: str) -> dict[str, Any]:
    """Return the schemas; the example of an embeddings request names a served model."""
    request = SCHEMAS["EmbeddingsRequest"]
    return {**SCHEMAS, "EmbeddingsRequest": {**request, "example": {**request["example"], "model": model}}}


def _operations(service: Service) -> Operations:
    """Yield method, path and description of each operation."""
    names = list(service.models)
    yield from _native(names)
    yield from _open_inference(names)
    yield from _openai()
    yield from _tf_serving(names)
    draining = {"503": _response(_STATUSES["503"], _json("Health"))}
    yield "get", "/healthz", _operation("Whether the server is ready, and its models.", _json("Health"), draining)
    metrics = {"text/plain": {"schema": {"type": "string"}}}
    yield "get", "/metrics", _operation("Metrics for Prometheus.", metrics)


def _native(names: list[str]) -> Operations:
    model = _parameter("model", "query", {"type": "string", "enum": names})
    body = {"multipart/form-data": _FORM, "image/*": _IMAGE}
    for path, summary, content, default in (
        ("/embed", "Feature vectors of images.", _json("Embeddings") | _FLOATS, None),
        ("/classify", "Most probable classes of images.", _json("Classes") | _FLOATS, 5),
        ("/similar", "Indexed images most similar to images.", _json("SimilarImages"), 10),
    ):
        top = [_parameter("top", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": default})]
        parameters = [model, *(top if default else [])]
        yield "post", path, _operation(summary, content, _errors(*_ON_IMAGES, "406"), parameters, body)


def _open_inference(names: list[str]) -> Operations:
    about, draining = "Open Inference Protocol:", _errors(*_ON_ANY_PATH, "503")
    yield "get", "/v2", _operation(f"{about} the server.", _json("ServerMetadata"))
    yield "get", "/v2/health/live", _operation(f"{about} whether the process is alive.", _json("Live"))
    yield "get", "/v2/health/ready", _operation(f"{about} whether requests are accepted.", _json("Ready"), draining)
    for path, parameters in _of_models("/v2/models/{name}", names):
        known, ready = _errors(*_ON_ANY_PATH, "404"), _errors(*_ON_ANY_PATH, "404", "503")
        metadata = _operation(f"{about} inputs and outputs of a model.", _json("ModelMetadata"), known, parameters)
        yield "get", path, metadata
        yield (
            "get",
            f"{path}/ready",
            _operation(f"{about} whether a model is ready.", _json("Ready"), ready, parameters),
        )
        content, body = _json("InferResponse") | _BINARY_TENSORS, _json("InferRequest")
        infer = _operation(f"{about} run a model.", content, _errors(*_ON_IMAGES), parameters, body)
        yield "post", f"{path}/infer", infer


def _openai() -> Operations:
    errors = _errors(*_ON_IMAGES, schema="OpenAIError")
    yield "get", "/v1/models", _operation("OpenAI: the models.", _json("OpenAIModels"), errors)
    content, body = _json("OpenAIEmbeddings"), _json("EmbeddingsRequest")
    yield "post", "/v1/embeddings", _operation("OpenAI: embeddings of images.", content, errors, (), body)


def _tf_serving(names: list[str]) -> Operations:
    about, known, errors = "TensorFlow Serving:", _errors(*_ON_ANY_PATH, "404"), _errors(*_ON_IMAGES)
    for path, parameters in _of_models("/v1/models/{name}", names):
        own = known if "version" in path else _errors(*_ON_ANY_PATH, "404", schema="OpenAIError")
        yield "get", path, _operation("TensorFlow Serving and OpenAI: a model.", _json("Model"), own, parameters)
        signatures = _operation(f"{about} signatures of a model.", _json("Signatures"), known, parameters)
        yield "get", f"{path}/metadata", signatures
        for method, summary, response, request in (
            ("predict", "run a signature", "Predictions", "PredictRequest"),
            ("classify", "classes of images", "TFClasses", "ClassifyRequest"),
        ):
            called = _operation(f"{about} {summary}.", _json(response), errors, parameters, _json(request))
            yield "post", f"{path}:{method}", called


def _of_models(prefix: str, names: list[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the path of a model, and the path with its version, each with its parameters."""
    name = _parameter("name", "path", {"type": "string", "enum": names})
    version = _parameter("version", "path", {"type": "string", "enum": [VERSION]})
    yield prefix, [name]
    yield f"{prefix}/versions/{{version}}", [name, version]


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _json(schema: str) -> Content:
    return {"application/json": {"schema": refer(schema)}}


def _response(text: str, content: Content) -> dict[str, Any]:
    return {"description": text, "content": content}


def _errors(*statuses: str, schema: str = "Error") -> dict[str, Any]:
    return {status: _response(_STATUSES[status], _json(schema)) for status in statuses}


def _operation(
    summary: str,
    content: Content,
    errors: dict[str, Any] | None = None,
    parameters: Sequence[dict[str, Any]] = (),
    body: Content | None = None,
) -> dict[str, Any]:
    responses = {"200": _response("Success.", content), **_errors(*_ON_ANY_PATH), **(errors or {})}
    operation = {"summary": summary, "parameters": list(parameters), "responses": responses}
    return operation | ({"requestBody": {"required": True, "content": body}} if body else {})
